"""`merge_key` of `realm_tf.data.text.answer_normalization`, inside a graph."""

import functools
import string

import numpy as np
import tensorflow as tf

from realm_tf.data.text.tensorflow_text import tf_text

_PUNCTUATION = (
    "[" + "".join(f"\\x{ord(c):02x}" for c in string.punctuation) + "]"
)
# All punctuation of ASCII is gone when these two mark the ends of words.
_MARKED = r"<\1>"
_WORD = r"([\p{L}\p{N}]+)"
_ARTICLES = "<(?:a|an|the)>"
_MARKS = "[<>]"
_CASED = 0x20000  # no character from here on has a case or is white space


def merge_keys(texts: tf.Tensor) -> tf.Tensor:
    """Keys of spans; those that share one count as one answer.

    Same as `merge_key`, for all characters that Python's Unicode knows; the
    one of TensorFlow is newer. Capitals are mapped by a table made from
    Python's own rules: `tf.strings.lower` follows the locale of the server.

    Args:
        texts: string tensor `(n,)`, UTF-8.

    Returns:
        string tensor `(n,)`.
    """
    keys = tf_text.normalize_utf8(texts, "NFD")
    codes = tf.strings.unicode_decode(keys, "UTF-8")
    codes = codes.with_values(_mapped(codes.values))
    keys = tf.strings.unicode_encode(codes, "UTF-8")
    for pattern, replacement in (
        (_PUNCTUATION, ""),
        (_WORD, _MARKED),
        (_ARTICLES, " "),
        (_MARKS, ""),
        (" +", " "),
        ("^ | $", ""),
    ):
        keys = tf.strings.regex_replace(keys, pattern, replacement)
    return tf.where(tf.equal(keys, ""), texts, keys)


def _mapped(codes: tf.Tensor) -> tf.Tensor:
    """Characters in lower case, white space as the space of ASCII."""
    sources, targets = _character_map()
    places = tf.searchsorted(sources, codes)
    places = tf.minimum(places, len(sources) - 1)
    is_listed = tf.equal(tf.gather(sources, places), codes)
    return tf.where(is_listed, tf.gather(targets, places), codes)


@functools.cache
def _character_map() -> tuple[np.ndarray, np.ndarray]:
    pairs = [(code, _map_character(chr(code))) for code in range(_CASED)]
    changed = [(c, ord(to)) for c, to in pairs if len(to) == 1 and ord(to) != c]
    sources, targets = np.array(changed, np.int32).T
    return sources, targets


def _map_character(character: str) -> str:
    if character.isspace():
        return " "
    # Only "İ" has a lower case of two characters; NFD takes it apart before.
    return character.lower().replace("ς", "σ")
