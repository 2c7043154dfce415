import json
import logging
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.answer_matching import (
    find_answer_blocks,
    gold_spans,
)
from realm_tf.data.questions.questions import Question

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
OFFICIAL = json.loads((FIXTURES / "eval.json").read_text())
GOLDEN, HAS_ANSWER = OFFICIAL["gold_spans"], OFFICIAL["has_answer"]
TEXTS = [
    "In the USA.",  # 0
    "playing in the US",  # 1
    "the Beyonc\u00e9 play",  # 2
    "",  # 3
    "US US US",  # 4
]


class FakeCorpus:
    def __init__(self, texts):
        self.num_blocks = len(texts)
        self._texts = texts

    def __getitem__(self, block_id):
        return Block(text=self._texts[block_id])


def ask(*answers, regex=False):
    return Question("q", "?", answers, regex=regex)


def find(*questions, texts=TEXTS):
    return find_answer_blocks(FakeCorpus(texts), questions)


def as_lists(block_lists):
    return [block_lists[i].tolist() for i in range(len(block_lists))]


def test_answers_are_found_letter_for_letter():
    found = find(
        ask("US"),
        ask("usa"),
        ask("beyonce"),
        ask("play"),
        ask("in the", "Beyonc\u00e9"),
        ask("The US"),
    )
    assert as_lists(found.by_text) == [
        [0, 1, 4],  # "US" is in "USA"
        [],
        [],
        [1, 2],
        [1, 2],  # block 0 has "In the"
        [],
    ]


def test_blocks_are_kept_once_for_each_distinct_answer():
    found = find(ask("US", "U"), ask("no"), ask("US")).by_text
    assert found.question_splits.tolist() == [0, 2, 3, 4]
    assert found.answer_ids.tolist() == [0, 1, 2, 0]
    assert found.answer_splits.tolist() == [0, 3, 6, 6]
    assert found.block_ids.tolist() == [0, 1, 4, 0, 1, 4]
    assert as_lists(found) == [[0, 1, 4], [], [0, 1, 4]]
    assert found[0].dtype == found[1].dtype == np.int64


@pytest.mark.parametrize("question", [-1, 1])
def test_unknown_question_is_refused(question):
    found = find(ask("US"))
    with pytest.raises(
        IndexError, match=f"from 0 to 0. Received: question={question}"
    ):
        found.by_text[question]


def test_blank_answers_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.WARNING):
        found = find(ask("", "US"), ask(" "))
    assert as_lists(found.by_text) == [[0, 1, 4], []]
    assert found.num_empty_answers == 2
    assert "Skipped 2 blank answers" in caplog.text


def test_regex_questions_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.WARNING):
        found = find(ask("US", regex=True), ask("usa"))
    assert as_lists(found.by_text) == [[], []]
    assert found.num_regex_questions == 1
    assert "Skipped 1 questions" in caplog.text


@pytest.mark.parametrize("texts", [TEXTS, []])
@pytest.mark.parametrize("questions", [[], [ask("")], [ask("US", regex=True)]])
def test_nothing_to_find_gives_empty_lists(texts, questions):
    found = find(*questions, texts=texts)
    assert as_lists(found.by_text) == [[] for _ in questions]


TEXT = st.text("aAb \u00e9", max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(TEXT, max_size=6),
    st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=4),
)
def test_one_pass_equals_search_block_by_block(texts, answers):
    found = find(*(ask(*row) for row in answers), texts=texts)
    assert as_lists(found.by_text) == [
        [
            i
            for i, text in enumerate(texts)
            if any(answer.strip() and answer in text for answer in row)
        ]
        for row in answers
    ]


def test_blocks_equal_those_of_the_official_code():
    # The original finds an empty answer in every text.
    cases = [case for case in HAS_ANSWER if "" not in case["answers"]]
    assert len(cases) == 14
    for case in cases:
        found = find(ask(*case["answers"]), texts=case["blocks"]).by_text[0]
        expected = np.flatnonzero(case["result"])
        np.testing.assert_array_equal(found, expected)


def test_gold_spans_equal_official_code_where_answers_are_not_empty():
    # The original finds an empty answer everywhere, ending before it starts.
    cases = [case for case in GOLDEN if [] not in case["answers"]]
    assert len(cases) == 45
    for case in cases:
        starts, ends = gold_spans(np.array(case["token_ids"]), case["answers"])
        assert starts.tolist() == case["starts"], case["name"]
        assert ends.tolist() == case["ends"], case["name"]


def test_gold_spans_are_int32_even_without_answers():
    starts, ends = gold_spans(np.array([1, 2], np.uint16), [[], [1, 2, 3]])
    assert starts.dtype == ends.dtype == np.int32
    assert starts.shape == ends.shape == (0,)
