"""Span logits to distinct answers, inside a graph."""

import tensorflow as tf

from realm_tf.data.text.answer_normalization import NUM_MERGED_SPANS
from realm_tf.engine.answer_keys import merge_keys
from realm_tf.layers.spans import NO_SPAN_LOGIT

MISSING_POSITION = -1
"""`block_position` of an answer that does not exist."""


def answer_specs(num_answers: int) -> dict[str, tf.TensorSpec]:
    """What `select_answers` returns, without the batch."""
    dtypes = {
        "text": tf.string,
        "block_position": tf.int32,
        "byte_start": tf.int32,
        "byte_end": tf.int32,
        "retrieval_probability": tf.float32,
        "reading_probability": tf.float32,
        "probability": tf.float32,
    }
    return {
        name: tf.TensorSpec([num_answers], dtype)
        for name, dtype in dtypes.items()
    }


def select_answers(
    span_logits: tf.Tensor,
    scores: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
    texts: tf.Tensor,
    *,
    max_span_width: int,
    num_answers: int,
) -> dict[str, tf.Tensor]:
    """The most probable distinct answers of one question.

    The same as `realm_tf.engine.numpy_answers.select_answers`, which says how.

    Args:
        span_logits: float32 `(num_read, num_spans)`, without retrieval
            logits; -1e9 for what is no span of the block.
        scores: float32 `(num_read,)`, retrieval logits; all finite.
        starts: int32 `(num_read, joint_length)`, bytes, of
            `Featurizer.joint`; at least `max_span_width` wordpieces.
        ends: int32 `(num_read, joint_length)`, bytes.
        texts: string `(num_read,)`, of the blocks.
        max_span_width: of the reader, in wordpieces.
        num_answers: how many to return.

    Returns:
        dict of tensors, see `answer_specs`. Where there are fewer answers,
        `text` is "", `block_position` is -1 and the numbers are 0.
    """
    logits = tf.reshape(span_logits, [-1])
    log_probs = tf.reshape(span_logits + scores[:, None], [-1])
    log_probs -= tf.reduce_logsumexp(log_probs)
    # Ties go to what comes first.
    num_merged = tf.minimum(NUM_MERGED_SPANS, tf.size(log_probs))
    log_probs, order = tf.math.top_k(log_probs, num_merged)
    exists = tf.gather(logits, order) > NO_SPAN_LOGIT
    log_probs, order = log_probs[exists], order[exists]
    blocks, byte_start, byte_end = _places(
        order, tf.shape(span_logits)[1], starts, ends, max_span_width
    )
    found = tf.strings.substr(
        tf.gather(texts, blocks), byte_start, byte_end - byte_start
    )
    # What is not UTF-8 would not fit into a reply of the REST interface.
    found = tf.strings.unicode_transcode(found, "UTF-8", "UTF-8")
    best, totals = _merged(merge_keys(found), log_probs, num_answers)
    reading = _log_probs_in_block(span_logits)
    answers = {
        "text": tf.gather(found, best),
        "block_position": tf.gather(blocks, best),
        "byte_start": tf.gather(byte_start, best),
        "byte_end": tf.gather(byte_end, best),
        "retrieval_probability": tf.gather(
            tf.nn.softmax(scores), tf.gather(blocks, best)
        ),
        "reading_probability": tf.exp(
            tf.gather(tf.reshape(reading, [-1]), tf.gather(order, best))
        ),
        "probability": tf.minimum(tf.cast(totals, tf.float32), 1.0),
    }
    paddings: dict[str, str | int] = {
        "text": "",
        "block_position": MISSING_POSITION,
    }
    return {
        name: _padded(values, num_answers, paddings.get(name, 0))
        for name, values in answers.items()
    }


def _places(
    order: tf.Tensor,
    num_spans: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
    max_span_width: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Block, first byte and byte after the last of spans of all blocks."""
    blocks, spans = order // num_spans, order % num_spans
    first, last = (
        tf.stack([blocks, tf.gather(positions, spans)], 1)
        for positions in _span_positions(tf.shape(starts)[1], max_span_width)
    )
    return blocks, tf.gather_nd(starts, first), tf.gather_nd(ends, last)


def _log_probs_in_block(span_logits: tf.Tensor) -> tf.Tensor:
    norms = tf.reduce_logsumexp(span_logits, axis=1, keepdims=True)
    return span_logits - norms


def _span_positions(
    joint_length: tf.Tensor, max_span_width: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """`span_positions` of `realm_tf.layers.spans`, for any length."""
    first = [
        tf.range(joint_length - offset) for offset in range(max_span_width)
    ]
    last = [start + offset for offset, start in enumerate(first)]
    return tf.concat(first, 0), tf.concat(last, 0)


def _merged(
    keys: tf.Tensor, log_probs: tf.Tensor, num_answers: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places of the best span of each answer, and what its spans sum to."""
    distinct, answer_of_span = tf.unique(keys)
    num_distinct = tf.size(distinct)
    # float64, as in Python: the order of answers may hang on the last bits.
    probabilities = tf.exp(tf.cast(log_probs, tf.float64))
    totals = tf.math.unsorted_segment_sum(
        probabilities, answer_of_span, num_distinct
    )
    first = tf.math.unsorted_segment_min(
        tf.range(tf.size(keys)), answer_of_span, num_distinct
    )
    totals, ranked = tf.math.top_k(
        totals, tf.minimum(num_answers, num_distinct)
    )
    return tf.gather(first, ranked), totals


def _padded(values: tf.Tensor, size: int, padding: str | int) -> tf.Tensor:
    missing = tf.fill(
        [size - tf.size(values)], tf.constant(padding, values.dtype)
    )
    return tf.ensure_shape(tf.concat([values, missing], 0), [size])
