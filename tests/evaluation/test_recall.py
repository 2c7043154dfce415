import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.evaluation.recall import (
    answer_recall_at_k,
    block_recall_at_k,
    contains_answer,
    first_rank,
    mean_reciprocal_rank,
    recall_at_k,
)

RETRIEVED = [
    ["Emma is a novel.", "It is by Jane Austen.", "Austen was born in 1775."],
    ["Lake Baikal lies in Siberia."],
    [],
]
ANSWERS = [["austen"], ["Baikal"], ["Paris"]]


@pytest.mark.parametrize(
    "text, answer, expected",
    [
        ("in the USA today", "US", False),
        ("in the U.S. today", "US", False),
        ("in the U.S. today", "U.S.", True),
        ("by jane austen.", "Jane Austen", True),
        ("by Jane  Austen", "Jane Austen", True),
        ("Jane Austen's novel", "Jane Austen", True),
        ("the war of 1939\u201345", "1939", True),
        ("a New York-based firm", "New York", True),
        ("it cost $1,000", "1,000", True),
        ("it cost $1,000", "1000", False),
        ("a cafe\u0301", "caf\u00e9", True),  # NFD and NFC
        ("Who is it?", "The Who", False),  # an article is a token
        ("\u5317\u4eac\u662f\u9996\u90fd", "\u5317\u4eac", True),
        ("\u5317\u4eac\u662f\u9996\u90fd", "\u9996\u4eac", False),
        ("ABC\u5317\u4eac", "\u5317\u4eac", True),
        ("any text", "", False),
        ("any text", "\u200b", False),
        ("Paris", "Paris", True),
    ],
)
def test_answer_is_contained_as_in_dpr(text, answer, expected):
    assert contains_answer(text, [answer]) is expected
    assert contains_answer(text, ["nowhere", answer]) is expected


def test_first_rank_counts_from_one():
    assert first_rank([False, True, True]) == 2
    assert first_rank([False]) is None
    assert first_rank([]) is None


def test_answer_recall_is_the_share_of_questions_found():
    # "austen" is first in block 2, "Baikal" in block 1, "Paris" nowhere:
    # 1/3 within one block, 2/3 within two.
    recalls = answer_recall_at_k(RETRIEVED, ANSWERS, ks=(1, 2, 50))
    assert recalls == {1: 1 / 3, 2: 2 / 3, 50: 2 / 3}


def test_block_recall_is_the_share_of_documents_found():
    # The gold documents are at rank 2 (and again at 3), 1, none and none:
    # 1/4 within one block, 2/4 within two.
    retrieved = [["a", "b", "b"], ["c"], ["a"], []]
    recalls = block_recall_at_k(retrieved, ["b", "c", "d", "a"], ks=(1, 2))
    assert recalls == {1: 1 / 4, 2: 2 / 4}


def test_mean_reciprocal_rank():
    # (1/1 + 0 + 1/4 + 1/2) / 4 = 1.75 / 4
    assert mean_reciprocal_rank([1, None, 4, 2]) == 0.4375


@pytest.mark.parametrize(
    "score", [mean_reciprocal_rank, lambda ranks: recall_at_k(ranks, [1])]
)
def test_no_questions_are_refused(score):
    with pytest.raises(ValueError, match="There must be at least one question"):
        score([])


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match=r"`ks` .* Received: ks=\[1, 0\]"):
        recall_at_k([1], ks=(1, 0))


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"len\(retrieved\)=3, len\(answers"):
        answer_recall_at_k(RETRIEVED, ANSWERS[:2], ks=(1,))
    with pytest.raises(ValueError, match=r"len\(gold_ids\)=1"):
        block_recall_at_k([], ["a"], ks=(1,))


RANKS = st.lists(st.none() | st.integers(1, 30), min_size=1)


@given(RANKS)
def test_recall_grows_with_k_to_the_share_found(ranks):
    recalls = list(recall_at_k(ranks, range(1, 31)).values())
    assert recalls == sorted(recalls)
    assert recalls[-1] == (len(ranks) - ranks.count(None)) / len(ranks)


@given(RANKS)
def test_reciprocal_rank_lies_between_recall_at_one_and_recall(ranks):
    reciprocal = mean_reciprocal_rank(ranks)
    recalls = recall_at_k(ranks, [1, 30])
    assert recalls[1] - 1e-9 <= reciprocal <= recalls[30] + 1e-9
