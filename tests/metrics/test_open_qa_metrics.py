import keras
import numpy as np
import pytest

from realm_tf.metrics.open_qa_metrics import (
    AnswerRecallAtK,
    exact_match,
    reader_oracle,
)

# Three questions, then one; two blocks of two spans each.
READING = [
    (
        [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]],
        # Best: block 0 span 0; block 0 span 0; block 1 span 0.
        [[[4, 1], [2, 3]], [[4, 1], [2, 3]], [[1, 2], [4, 3]]],
    ),
    ([[[0, 0], [1, 0]]], [[[1, 2], [4, 3]]]),  # best: block 1 span 0
]

RETRIEVAL = [
    (
        [[0, 0, 1], [1, 0, 0], [0, 1, -1]],
        [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [2.0, 1.0, 9.0]],
    ),
    ([[0, 1, 0]], [[3.0, 2.0, 1.0]]),
]


def result(metric, batches):
    for labels, logits in batches:
        metric.update_state(
            np.array(labels, "int8"), np.array(logits, "float32")
        )
    return float(metric.result())


def test_exact_match_over_two_unequal_batches():
    # Right, wrong, without an answer; right: 2 of 4. The mean of the means
    # of the batches would be (1/3 + 1) / 2 = 2/3.
    metric = keras.metrics.MeanMetricWrapper(exact_match)
    assert result(metric, READING) == 0.5


def test_reader_oracle_over_two_unequal_batches():
    # An answer in some block: yes, yes, no; yes: 3 of 4.
    metric = keras.metrics.MeanMetricWrapper(reader_oracle)
    assert result(metric, READING) == 0.75


@pytest.mark.parametrize(
    ("k", "expected"),
    # Ranks of the answer: 3, 1, 2 (the best logit is no choice); 2.
    # Hence 1 of 4, 3 of 4, and all; there are no more than three blocks.
    [(1, 0.25), (2, 0.75), (3, 1.0), (10, 1.0)],
)
def test_answer_recall_over_two_unequal_batches(k, expected):
    assert result(AnswerRecallAtK(k), RETRIEVAL) == expected


def test_ambiguous_blocks_are_no_hits():
    assert result(AnswerRecallAtK(1), [([[-1, 0]], [[9.0, 1.0]])]) == 0.0


def test_reset_forgets_the_batches():
    metric = AnswerRecallAtK(1)
    result(metric, RETRIEVAL)
    metric.reset_state()
    assert result(metric, [([[1, 0]], [[1.0, 0.0]])]) == 1.0


def test_recall_is_named_after_k():
    assert AnswerRecallAtK(5).name == "answer_recall_at_5"


def test_config_round_trip():
    metric = AnswerRecallAtK(2, name="recall")
    config = keras.saving.serialize_keras_object(metric)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == metric.get_config()
    assert (copy.k, copy.name) == (2, "recall")
    assert result(copy, RETRIEVAL) == result(metric, RETRIEVAL) == 0.75


@pytest.mark.parametrize("function", [exact_match, reader_oracle])
def test_functions_are_found_by_their_registered_names(function):
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function
