import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.data.text.answer_normalization import merge_key, normalize_answer

GOLDEN = json.loads(
    pathlib.Path(__file__, "../../../fixtures/eval.json").resolve().read_text()
)["normalize"]


def test_normalize_equals_official_code():
    decided = [normalize_answer(case["text"]) for case in GOLDEN]
    assert decided == [case["normalized"] for case in GOLDEN]


@pytest.mark.parametrize(
    "text, normalized",
    [
        ("The U.S.A.", "usa"),
        ("1,000", "1000"),
        ("twenty-one", "twentyone"),
        ("A", ""),
        ("theatre", "theatre"),  # an article inside a word stays
        ("the  cat\tsat", "cat sat"),
        ("Beyonc\u00e9", "beyonce\u0301"),  # decomposed, but kept
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),
    ],
)
def test_normalize_follows_each_rule(text, normalized):
    assert normalize_answer(text) == normalized


@given(st.text())
def test_normalize_leaves_single_spaces_and_no_ascii_upper_case(text):
    normalized = normalize_answer(text)
    assert normalized == " ".join(normalized.split())
    assert not any("A" <= character <= "Z" for character in normalized)
    assert "," not in normalized


@given(st.text(st.characters(codec="ascii")))
def test_normalize_ignores_case_and_final_full_stop(text):
    assert normalize_answer(text.upper() + ".") == normalize_answer(
        text.lower()
    )


def test_merge_key_is_the_normal_form_with_one_small_sigma():
    assert merge_key("The U.S.A.") == normalize_answer("The U.S.A.")
    assert merge_key("ΟΔΟΣ") == merge_key("οδος") == "οδοσ"
    assert merge_key("?") == "?"
    assert merge_key("The") == "The"
