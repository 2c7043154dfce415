import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.spans import (
    best_span,
    gold_span_mask,
    span_mask,
    span_offsets,
    span_positions,
)

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "orqa_ops.json"
GOLDEN = json.loads(FIXTURE.read_text())


@pytest.mark.parametrize("case", GOLDEN["span_candidates"])
def test_spans_equal_the_official_candidates(case):
    joint_length = len(case["masks"][0])
    starts, ends = span_positions(joint_length, case["max_span_width"])
    assert starts.tolist() == case["starts"]
    assert ends.tolist() == case["ends"]
    mask = span_mask(np.array(case["masks"]), case["max_span_width"])
    np.testing.assert_array_equal(mask, np.array(case["span_masks"], bool))


def test_released_reader_has_3155_spans():
    starts, ends = span_positions(joint_length=320, max_span_width=10)
    assert starts.shape == ends.shape == (3155,)
    assert starts.dtype == ends.dtype == np.int32
    np.testing.assert_array_equal(np.unique(ends - starts), np.arange(10))


def test_spans_wider_than_the_text_do_not_exist():
    starts, ends = span_positions(joint_length=2, max_span_width=10)
    assert list(zip(starts, ends, strict=True)) == [(0, 0), (1, 1), (0, 1)]


def test_offsets_stop_at_the_length_where_it_is_known():
    assert span_offsets(joint_length=2, max_span_width=10) == range(2)
    assert span_offsets(joint_length=20, max_span_width=10) == range(10)
    length = tf.constant(20)
    assert span_offsets(joint_length=length, max_span_width=10) == range(10)


@pytest.mark.parametrize("case", GOLDEN["compute_correct_candidates"][:1])
def test_gold_spans_equal_the_official_correct_candidates(case):
    mask = gold_span_mask(
        np.array(case["gold_starts"]),
        np.array(case["gold_ends"]),
        joint_length=3,
        max_span_width=2,
    )
    np.testing.assert_array_equal(mask, case["result"])


def test_gold_spans_are_marked_for_every_candidate():
    gold_starts = np.array([[[0, -1], [-1, -1], [1, 2]]])
    gold_ends = np.array([[[1, -1], [-1, -1], [1, 2]]])
    mask = gold_span_mask(gold_starts, gold_ends, 3, max_span_width=2)
    # Spans: 0-0, 1-1, 2-2, 0-1, 1-2.
    expected = [[[0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 0]]]
    np.testing.assert_array_equal(mask, np.array(expected, bool))


@pytest.mark.parametrize("gold", [(0, 2), (2, 3), (2, 1)])
def test_gold_spans_that_are_no_candidates_mark_nothing(gold):
    start, end = gold  # Too wide; beyond the text; backwards.
    mask = gold_span_mask(
        np.array([start]), np.array([end]), 3, max_span_width=2
    )
    assert not np.any(mask)


def test_gold_spans_may_be_none_at_all():
    none = np.zeros((2, 0), "int32")
    mask = gold_span_mask(none, none, 3, max_span_width=2)
    assert tuple(mask.shape) == (2, 5)
    assert not np.any(mask)


@pytest.mark.parametrize(
    ("span_logits", "expected"),
    [
        ([[0.0, 1.0, 2.0], [0.0, 3.0, 1.0]], (1, 1)),
        # Each block's best span and each span's best block would give the
        # cell (0, 1), which nobody scored highest.
        ([[4.0, 0.0, 3.0], [0.0, 5.0, 0.0]], (1, 1)),
        # Ties: the first block, then the first span.
        ([[0.0, 2.0, 2.0], [2.0, 2.0, 0.0]], (0, 1)),
    ],
)
def test_best_span_is_one_argmax_over_blocks_and_spans(span_logits, expected):
    candidates, spans = best_span(np.array([span_logits, span_logits]))
    assert list(zip(candidates, spans, strict=True)) == [expected, expected]
