"""The official recovery of an answer's text from its wordpieces.

It exists for comparisons: our answers are slices of their block, which no
recovery can spoil.
"""

import unicodedata

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_ASCII_PUNCTUATION = ((33, 47), (58, 64), (91, 96), (123, 126))


def final_text(pred: str, orig: str, *, lowercase: bool = True) -> str:
    """Finds a normalised answer in the original words.

    Args:
        pred: wordpieces, joined by spaces.
        orig: original words, joined by spaces.
        lowercase: whether wordpieces have no capitals and no accents.

    Returns:
        str. The part of `orig` that reads like `pred`; all of `orig` where
        that cannot be told, as with any `pred` that has "##" in it.

    Example:
    >>> final_text("steve smith", "Steve Smith's")
    'Steve Smith'
    >>> final_text("be ##yo ##nce", "Beyoncé")
    'Beyoncé'

    Source: `get_final_text` of `squad_lib.py`, tf-models-official 2.1.
    """
    tokenized = " ".join(basic_tokens(orig, lowercase=lowercase))
    start = tokenized.find(pred)
    if start < 0:
        return orig
    end = start + len(pred) - 1
    orig_places = _places_of_signs(orig)
    places = _places_of_signs(tokenized)
    if len(orig_places) != len(places):
        return orig
    number = {place: i for i, place in enumerate(places)}
    if start not in number or end not in number:
        return orig
    first, last = orig_places[number[start]], orig_places[number[end]]
    return orig[first : last + 1]


def basic_tokens(text: str, *, lowercase: bool = True) -> list[str]:
    """Words and punctuation of a text, as BERT's Python tokenizer has them.

    Example:
    >>> basic_tokens("Besançon's (old) town")
    ['besancon', "'", 's', '(', 'old', ')', 'town']
    """
    cleaned = "".join(_cleaned(sign) for sign in text)
    tokens = []
    for word in cleaned.split():
        if lowercase:
            decomposed = unicodedata.normalize("NFD", word.lower())
            word = "".join(
                sign
                for sign in decomposed
                if unicodedata.category(sign) != "Mn"
            )
        spaced = "".join(f" {s} " if _is_punctuation(s) else s for s in word)
        tokens += spaced.split()
    return tokens


def _places_of_signs(text: str) -> list[int]:
    return [place for place, sign in enumerate(text) if sign != " "]


def _cleaned(sign: str) -> str:
    code = ord(sign)
    if sign in "\t\n\r " or unicodedata.category(sign) == "Zs":
        return " "
    # Private and unassigned signs stay, here as in the original.
    if code in (0, 0xFFFD) or unicodedata.category(sign) in ("Cc", "Cf"):
        return ""
    if any(first <= code <= last for first, last in _CJK):
        return f" {sign} "
    return sign


def _is_punctuation(sign: str) -> bool:
    code = ord(sign)
    return any(
        first <= code <= last for first, last in _ASCII_PUNCTUATION
    ) or unicodedata.category(sign).startswith("P")
