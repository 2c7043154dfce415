"""What counts as the same answer: the normaliser of the official evaluation."""

import re
import string
import unicodedata

_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Normalises an answer as the official evaluation of ORQA and REALM does.

    In order: Unicode NFD, lower case, ASCII punctuation deleted, the words
    "a", "an" and "the" replaced by a space, white space collapsed. Accents,
    curly quotes and other signs outside ASCII stay. Nothing depends on the
    locale.

    Args:
        text: str. An answer.

    Returns:
        str. Its normal form, empty for an answer like "A" or "?".

    Example:
    >>> normalize_answer("The U.S.A.")
    'usa'
    >>> normalize_answer("1,000")
    '1000'

    Source: google-research/language, `orqa/utils/eval_utils.py`; it differs
    from SQuAD's normaliser by the NFD.
    """
    text = unicodedata.normalize("NFD", text).lower()
    text = text.translate(_DELETE_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())
