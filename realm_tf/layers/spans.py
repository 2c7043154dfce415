"""The geometry of answer spans: which exist, in which order, which are gold.

Spans are ordered by width, then by start. That order is the last axis of all
span logits and span masks.
"""

import numpy as np
from keras import ops

NO_SPAN_LOGIT = -1e8
"""Logits of what is no span are far below, of spans far above."""


def span_positions(joint_length, max_span_width):
    """First and last wordpiece of every span, in the order of span logits.

    Args:
        joint_length: int, in wordpieces.
        max_span_width: int, in wordpieces. Wider than `joint_length` is fine.

    Returns:
        Pair of int32 arrays `(num_spans,)`: starts and ends, both inclusive.

    Example:
    >>> starts, ends = span_positions(joint_length=3, max_span_width=2)
    >>> list(zip(starts.tolist(), ends.tolist()))
    [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)]

    Source: Lee et al., 2019 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`.
    """
    widths = range(1, min(max_span_width, joint_length) + 1)
    starts = [np.arange(joint_length - w + 1, dtype=np.int32) for w in widths]
    ends = [start + w - 1 for start, w in zip(starts, widths, strict=True)]
    return np.concatenate(starts), np.concatenate(ends)


def span_offsets(joint_length, max_span_width):
    """Distances from the first to the last wordpiece that spans can have.

    Args:
        joint_length: int, or int tensor where the length is not static. It
            must then be at least `max_span_width`.
        max_span_width: int, in wordpieces.

    Returns:
        range of ints.
    """
    if isinstance(joint_length, int):
        return range(min(max_span_width, joint_length))
    return range(max_span_width)


def span_mask(block_mask, max_span_width):
    """Spans that begin and end on a wordpiece of the block.

    Args:
        block_mask: int or bool tensor `(..., joint_length)`. 1 = a wordpiece
            of the block.
        max_span_width: int, in wordpieces.

    Returns:
        bool tensor `(..., num_spans)`.

    Example:
    >>> mask = span_mask(np.array([0, 1, 1]), max_span_width=2)
    >>> mask.numpy().tolist()
    [False, True, True, False, True]
    """
    block_mask = ops.cast(block_mask, "bool")
    joint_length = ops.shape(block_mask)[-1]
    # By slices, width by width, so that the length need not be static.
    return ops.concatenate(
        [
            ops.logical_and(
                block_mask[..., : joint_length - offset],
                block_mask[..., offset:],
            )
            for offset in span_offsets(joint_length, max_span_width)
        ],
        axis=-1,
    )


def gold_span_mask(gold_starts, gold_ends, joint_length, max_span_width):
    """Marks the spans that spell an answer.

    Args:
        gold_starts: int tensor `(..., num_golds)`. First wordpiece of every
            gold span, padded with -1.
        gold_ends: int tensor `(..., num_golds)`. Last wordpiece, inclusive.
        joint_length: int, in wordpieces.
        max_span_width: int, in wordpieces. Wider gold spans are no candidates
            and mark nothing.

    Returns:
        bool tensor `(..., num_spans)`.

    Example:
    >>> mask = gold_span_mask([1, -1], [2, -1], 3, max_span_width=2)
    >>> mask.numpy().tolist()
    [False, False, False, False, True]
    """
    starts, ends = span_positions(joint_length, max_span_width)
    # Padding never matches, because no span starts at -1.
    is_start = ops.expand_dims(gold_starts, -1) == starts
    is_end = ops.expand_dims(gold_ends, -1) == ends
    # (..., num_golds, num_spans)
    return ops.any(ops.logical_and(is_start, is_end), axis=-2)


def best_span(span_logits):
    """Position of the highest logit over all blocks and spans of a question.

    One argmax over the flattened axes. Ties go to the first block, then to
    the shortest span, then to the leftmost.

    Args:
        span_logits: float tensor `(batch, num_candidates, num_spans)`, the
            retrieval logits already added.

    Returns:
        Pair of int tensors `(batch,)`: the candidate, and the span in the
        order of `span_positions`.

    Example:
    >>> candidate, span = best_span([[[0.0, 1.0], [3.0, 3.0]]])
    >>> int(candidate[0]), int(span[0])
    (1, 0)
    """
    span_logits = ops.convert_to_tensor(span_logits)
    num_spans = span_logits.shape[-1]
    flat = ops.reshape(span_logits, (ops.shape(span_logits)[0], -1))
    best = ops.argmax(flat, axis=-1)
    return best // num_spans, best % num_spans
