"""What counts as the same answer: the normaliser of the official evaluation."""

import re
import string
import unicodedata

NUM_MERGED_SPANS = 256
"""Most probable spans of a question whose probabilities are merged; the rest
weighs next to nothing."""

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


def merge_key(text: str) -> str:
    """What two spans of a question must share to count as one answer.

    The normal form, with one letter for both forms of the small sigma: which
    of them a capital becomes depends on its neighbours, and exported graphs
    look at one letter at a time. An answer without a letter, like "?",
    normalises to nothing and stands alone.

    Example:
    >>> merge_key("The ΟΔΟΣ") == merge_key("οδος")
    True
    >>> merge_key("?"), merge_key("!")
    ('?', '!')
    """
    return normalize_answer(text).replace("ς", "σ") or text
