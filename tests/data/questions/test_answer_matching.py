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
    wordpiece_key,
)
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import MismatchError

GOLDEN = json.loads(
    pathlib.Path(__file__, "../../../fixtures/eval.json").resolve().read_text()
)["gold_spans"]
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] us usa play ##ing in the beyonce "
    "a ##a b ##b"
).split()
TEXTS = [
    "In the USA.",  # 0: "." is no word of the vocabulary
    "playing in the US",  # 1
    "the Beyonc\u00e9 play",  # 2
    "",  # 3
    "US US US",  # 4
]


class FakeCorpus:
    def __init__(self, texts, featurizer):
        self.tokenizer_fingerprint = featurizer.fingerprint
        self.num_blocks = len(texts)
        self._texts = texts
        self._tokens = featurizer.tokenize(texts) if texts else None

    def __getitem__(self, block_id):
        return Block(text=self._texts[block_id])

    def token_ids(self, block_id):
        return self._tokens.row(block_id)[0].astype(np.uint16)


@pytest.fixture(scope="module")
def featurizer():
    return Featurizer(WORDS)


def ask(*answers, regex=False):
    return Question("q", "?", answers, regex=regex)


def find(featurizer, *questions, texts=TEXTS):
    corpus = FakeCorpus(texts, featurizer)
    return find_answer_blocks(corpus, questions, featurizer)


def as_lists(block_lists):
    return [block_lists[i].tolist() for i in range(len(block_lists))]


def test_text_rule_is_letter_for_letter_and_wordpieces_are_not(featurizer):
    found = find(
        featurizer,
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
    assert as_lists(found.by_wordpieces) == [
        [1, 4],
        [0],
        [2],
        [1, 2],  # "playing" is "play ##ing"
        [0, 1, 2],
        [1],
    ]


def test_blocks_are_kept_once_for_each_distinct_answer(featurizer):
    found = find(featurizer, ask("US", "U"), ask("no"), ask("US")).by_text
    assert found.question_splits.tolist() == [0, 2, 3, 4]
    assert found.answer_ids.tolist() == [0, 1, 2, 0]
    assert found.answer_splits.tolist() == [0, 3, 6, 6]
    assert found.block_ids.tolist() == [0, 1, 4, 0, 1, 4]
    assert as_lists(found) == [[0, 1, 4], [], [0, 1, 4]]
    assert found[0].dtype == found[1].dtype == np.int64


@pytest.mark.parametrize("question", [-1, 1])
def test_unknown_question_is_refused(featurizer, question):
    found = find(featurizer, ask("US"))
    with pytest.raises(
        IndexError, match=f"from 0 to 0. Received: question={question}"
    ):
        found.by_text[question]


def test_blank_answers_are_left_out_and_counted(featurizer, caplog):
    with caplog.at_level(logging.WARNING):
        found = find(featurizer, ask("", "US"), ask(" "))
    assert as_lists(found.by_text) == [[0, 1, 4], []]
    assert found.num_empty_answers == 2
    assert "Left out 2 blank answers" in caplog.text


def test_answers_without_known_wordpieces_keep_the_text_rule(
    featurizer, caplog
):
    with caplog.at_level(logging.WARNING):
        found = find(featurizer, ask("."), ask("in the US."))
    assert as_lists(found.by_text) == [[0], []]
    assert as_lists(found.by_wordpieces) == [[], []]
    assert found.num_untokenized_answers == 2
    assert "Left out 2 answers without known wordpieces" in caplog.text


def test_regex_questions_are_left_out_and_counted(featurizer, caplog):
    with caplog.at_level(logging.WARNING):
        found = find(featurizer, ask("US", regex=True), ask("usa"))
    assert as_lists(found.by_text) == [[], []]
    assert as_lists(found.by_wordpieces) == [[], [0]]
    assert found.num_regex_questions == 1
    assert "Left out 1 questions" in caplog.text


@pytest.mark.parametrize("texts", [TEXTS, []])
@pytest.mark.parametrize("questions", [[], [ask("")], [ask("US", regex=True)]])
def test_nothing_to_find_gives_empty_lists(featurizer, texts, questions):
    found = find(featurizer, *questions, texts=texts)
    assert as_lists(found.by_text) == [[] for _ in questions]
    assert as_lists(found.by_wordpieces) == [[] for _ in questions]


def test_another_tokenizer_is_refused(featurizer):
    corpus = FakeCorpus(TEXTS, featurizer)
    other = Featurizer(WORDS, lowercase=False)
    with pytest.raises(MismatchError, match="`featurizer` must be the one"):
        find_answer_blocks(corpus, [ask("US")], other)


TEXT = st.text("aAb \u00e9", max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(TEXT, max_size=6),
    st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=4),
)
def test_one_pass_equals_search_block_by_block(featurizer, texts, answers):
    corpus = FakeCorpus(texts, featurizer)
    found = find_answer_blocks(
        corpus, [ask(*row) for row in answers], featurizer
    )

    def by_text(block_id, row):
        text = corpus[block_id].text
        return any(answer.strip() and answer in text for answer in row)

    def by_wordpieces(block_id, row):
        tokens = featurizer.tokenize(row)
        ids = [tokens.row(i)[0] for i in range(len(row))]
        known = [x for x in ids if featurizer.unk_id not in x]
        return len(gold_spans(corpus.token_ids(block_id), known)[0]) > 0

    for rule, lists in [
        (by_text, found.by_text),
        (by_wordpieces, found.by_wordpieces),
    ]:
        assert as_lists(lists) == [
            [block for block in range(len(texts)) if rule(block, row)]
            for row in answers
        ]


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


IDS = st.lists(st.integers(0, 2**16 - 1) | st.sampled_from([0, 1, 256, 257]))


@given(IDS, IDS)
def test_wordpiece_keys_contain_each_other_only_at_whole_wordpieces(
    block, answer
):
    key = wordpiece_key(np.array(answer, np.uint16))
    is_inside = key in wordpiece_key(np.array(block, np.uint16))
    starts, _ = gold_spans(np.array(block), [answer])
    assert is_inside is (len(starts) > 0 or not answer)
