import string
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realm_tf.data.text.answer_normalization import merge_key
from realm_tf.engine.answer_keys import merge_keys

compiled = tf.function(merge_keys, [tf.TensorSpec([None], tf.string)])
# What this Python's Unicode does not know cannot be compared, nor what has no
# UTF-8.
KNOWN = st.characters(exclude_categories=("Cs", "Cn"))
TRICKY = st.sampled_from(
    [*"aAnNtThHeE", "the", "An", "é", "É", "ß", "ẞ", "İ", "ı", "Σ", "σ", "ς"]
    + ["Å", "ﬁ", "Ǆ", "ǅ", "가", "\u0301", "\u0345", "\u00a0", "\u2003", "\x1c"]
    + [*string.punctuation, *string.whitespace, "“", "_", "²", "½", "٣", "\0"]
    + ["\ufeff", "\ufdd0", "𝒜", "𐐀", "Ω", "K", "\x85"]
)
TEXTS = st.lists(KNOWN | TRICKY, max_size=20).map("".join)


def keys(texts):
    return [k.decode() for k in compiled([t.encode() for t in texts]).numpy()]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=8))
@example(["", "a", "The", "?", "an a the", "thé", "aβ", "a_b the_", "ΟΔΟΣ.ς"])
@example(["İstanbul", "ISTANBUL", "U.S.A.", "1,000", "\ufeffthe", "<a>"])
def test_keys_are_those_of_python(texts):
    assert keys(texts) == [merge_key(text) for text in texts]


def test_every_character_that_python_knows_has_its_key():
    texts = [
        f"x{chr(code)}A"
        for code in range(0x110000)
        if unicodedata.category(chr(code)) not in ("Cs", "Cn")
    ]
    got = np.array(keys(texts))
    want = np.array([merge_key(text) for text in texts])
    assert [texts[i] for i in np.flatnonzero(got != want)] == []


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_get_a_key(raw):
    (key,) = compiled([raw]).numpy()
    assert "\ufffd" in key.decode()
