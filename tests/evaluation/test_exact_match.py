import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.evaluation.exact_match import exact_match, f1


@pytest.mark.parametrize("kind, number", [("exact", 95), ("regex", 54)])
def test_exact_match_equals_official_code(golden, kind, number):
    cases = golden[kind]
    decided = [
        exact_match(c["prediction"], c["answers"], regex=c["is_regex"])
        for c in cases
    ]
    assert len(cases) == number
    assert decided == [c["is_correct"] for c in cases]


def test_regex_changes_the_decision():
    assert exact_match("July 1969", ["july"], regex=True)
    assert not exact_match("July 1969", ["july"])


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    # Words {novelist, jane, austen} and {jane, austen}: P = 2/3, R = 2/2,
    # F1 = 2 * (2/3) / (5/3) = 4/5.
    assert f1("the novelist Jane Austen", ["Jane Austen"]) == 0.8


def test_f1_counts_repeated_words():
    # {new, new, york} and {new, york, new, jersey}: 3 in common,
    # P = 3/3, R = 3/4, F1 = 6/7.
    assert f1("New New York", ["New York, New Jersey"]) == 6 / 7


def test_f1_takes_the_best_answer():
    # Against "Austen": P = 1/2, R = 1, F1 = 2/3; "Emma" has nothing.
    assert f1("Jane Austen", ["Emma", "Austen"]) == 2 / 3


def test_f1_of_no_words_is_one_only_if_both_have_none():
    assert f1("The", ["a", "x"]) == 1.0
    assert f1("The", ["x"]) == 0.0
    assert f1("x", ["the"]) == 0.0


@pytest.mark.parametrize("score", [exact_match, f1])
def test_empty_answers_are_refused(score):
    with pytest.raises(ValueError, match="`answers` must hold at least one"):
        score("Paris", [])


@pytest.mark.parametrize("score", [exact_match, f1])
def test_one_string_is_refused(score):
    with pytest.raises(TypeError, match="`answers` must be a sequence"):
        score("Paris", "Paris")


@given(st.text(), st.text())
def test_f1_is_symmetric_and_bounded(one, other):
    assert f1(one, [other]) == f1(other, [one])
    assert 0.0 <= f1(one, [other]) <= 1.0


@given(st.text(), st.lists(st.text(), min_size=1))
def test_exact_match_implies_full_f1(prediction, answers):
    if exact_match(prediction, answers):
        assert f1(prediction, answers) == 1.0


@given(st.lists(st.text(), min_size=1))
def test_every_answer_matches_itself(answers):
    assert all(exact_match(answer, answers) for answer in answers)
