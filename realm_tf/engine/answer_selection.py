"""The spans of the blocks that were read to distinct answers, in a graph."""

import tensorflow as tf

from realm_tf._constants import MASKED_LOGIT
from realm_tf.data.text.answer_normalization import NUM_MERGED_SPANS
from realm_tf.engine.answer_keys import merge_keys
from realm_tf.layers.spans import NO_SPAN_LOGIT

MISSING_POSITION = -1
"""`block_position` of an answer that does not exist."""


def answer_specs(num_answers: tf.Tensor | int) -> dict[str, tf.TensorSpec]:
    """What `select_answers` returns; of static size for an int."""
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
        name: tf.TensorSpec([_static(num_answers)], dtype)
        for name, dtype in dtypes.items()
    }


def select_answers(
    logits: tf.Tensor,
    norms: tf.Tensor,
    byte_starts: tf.Tensor,
    byte_ends: tf.Tensor,
    is_there: tf.Tensor,
    scores: tf.Tensor,
    texts: tf.Tensor,
    num_answers: tf.Tensor | int,
    temperature: tf.Tensor | float = 1.0,
) -> dict[str, tf.Tensor]:
    """The most probable distinct answers of one question.

    p(y, z | x) is one softmax over all spans of all blocks that were read, of
    the span logit plus the retrieval logit of its block (Lee et al., 2019),
    divided by a temperature (Guo et al., 2017). Which answers there are, and
    their order, is decided at temperature 1.
    Spans that spell the same answer are summed. Ties go to the better block,
    then to the shorter span, then to the leftmost.

    Each answer is another one: an answer whose best span overlaps a span of a
    more probable answer of the list is left out. Its probability is added to
    none, so that the probability of an answer stays that of its own spelling.

    Args:
        logits: float32 `(num_blocks, num_spans)`, the best spans of each
            block, best first, without retrieval logits; -1e9 for what is no
            span of the block.
        norms: float32 `(num_blocks,)`, log of the sum over all spans of a
            block of the exponential of their logits over the temperature.
        byte_starts: int32 `(num_blocks, num_spans)`, bytes in the text.
        byte_ends: int32 `(num_blocks, num_spans)`.
        is_there: bool `(num_blocks,)`, False where no block is.
        scores: float32 `(num_blocks,)`, retrieval logits; -1e9 where no block
            is.
        texts: string `(num_blocks,)`, of the blocks.
        num_answers: how many to return.
        temperature: more than 1 makes answers less sure. p(z | x) has none.

    Returns:
        dict of tensors `(num_answers,)`, see `answer_specs`. Where there are
        fewer answers, `text` is "", `block_position` is -1 and the numbers
        are 0. Where a logit is NaN or infinite, every `probability` is NaN.
    """
    norms = tf.where(is_there, norms, 0.0)
    logits = tf.where(is_there[:, None], logits, MASKED_LOGIT)
    num_spans = tf.shape(logits)[1]
    joint = tf.reshape(logits + scores[:, None], [-1])
    # Ties go to what comes first.
    num_merged = tf.minimum(NUM_MERGED_SPANS, tf.size(joint))
    joint, order = tf.math.top_k(joint, num_merged)
    exists = tf.gather(tf.reshape(logits, [-1]), order) > NO_SPAN_LOGIT
    joint, order = joint[exists], order[exists]
    blocks = order // num_spans
    byte_start, byte_end = (
        tf.gather(tf.reshape(x, [-1]), order) for x in (byte_starts, byte_ends)
    )
    found = tf.strings.substr(
        tf.gather(texts, blocks), byte_start, byte_end - byte_start
    )
    # What is not UTF-8 would not fit into a reply of the REST interface.
    found = tf.strings.unicode_transcode(found, "UTF-8", "UTF-8")
    ranks, num_distinct = _ranks(merge_keys(found), joint)
    best = tf.math.unsorted_segment_min(  # span of each answer
        tf.range(tf.size(ranks)), ranks, num_distinct
    )
    log_norm = tf.reduce_logsumexp(norms + scores / temperature)
    totals = tf.math.unsorted_segment_sum(
        tf.exp(joint / temperature - log_norm), ranks, num_distinct
    )
    hides = _hides(ranks, best, blocks, byte_start, byte_end)
    listed = _listed(hides, num_answers)
    best, totals = tf.gather(best, listed), tf.gather(totals, listed)
    reading = tf.reshape(logits / temperature - norms[:, None], [-1])
    answers = {
        "text": tf.gather(found, best),
        "block_position": tf.gather(blocks, best),
        "byte_start": tf.gather(byte_start, best),
        "byte_end": tf.gather(byte_end, best),
        "retrieval_probability": tf.gather(
            tf.nn.softmax(scores), tf.gather(blocks, best)
        ),
        "reading_probability": tf.exp(
            tf.gather(reading, tf.gather(order, best))
        ),
        "probability": tf.minimum(totals, 1.0),
    }
    paddings: dict[str, str | int] = {
        "text": "",
        "block_position": MISSING_POSITION,
    }
    padded = {
        name: _padded(values, num_answers, paddings.get(name, 0))
        for name, values in answers.items()
    }
    # NaN is less than any span, so it would read as "no answer".
    is_sound = tf.reduce_all(norms + scores < float("inf"))
    padded["probability"] = tf.where(
        is_sound, padded["probability"], float("nan")
    )
    return padded


def _ranks(keys: tf.Tensor, joint: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rank of the answer of each span, and how many answers there are."""
    distinct, answer_of_span = tf.unique(keys)
    num_distinct = tf.size(distinct)
    # float64: the order of answers may hang on the last bits.
    weights = tf.exp(tf.cast(joint - tf.reduce_max(joint), tf.float64))
    totals = tf.math.unsorted_segment_sum(weights, answer_of_span, num_distinct)
    _, ranked = tf.math.top_k(totals, num_distinct)
    ranks = tf.gather(tf.math.invert_permutation(ranked), answer_of_span)
    return ranks, num_distinct


def _hides(
    ranks: tf.Tensor,
    best: tf.Tensor,
    blocks: tf.Tensor,
    byte_start: tf.Tensor,
    byte_end: tf.Tensor,
) -> tf.Tensor:
    """Whether an answer has a span that overlaps the best span of another.

    Args:
        ranks: int32 `(num_spans,)`, of the answer of each span.
        best: int32 `(num_answers,)`, the best span of each answer.
        blocks: int32 `(num_spans,)`, where the spans are.
        byte_start: int32 `(num_spans,)`.
        byte_end: int32 `(num_spans,)`.

    Returns:
        bool `(num_answers, num_answers)`, the other in the second place.
    """
    overlaps = (
        (blocks[:, None] == tf.gather(blocks, best))
        & (byte_start[:, None] < tf.gather(byte_end, best))
        & (tf.gather(byte_start, best) < byte_end[:, None])
    )  # (num_spans, num_answers)
    hides = tf.math.unsorted_segment_max(
        tf.cast(overlaps, tf.int32), ranks, tf.size(best)
    )
    return hides > 0


def _listed(hides: tf.Tensor, num_answers: tf.Tensor | int) -> tf.Tensor:
    """Ranks of the first answers that no answer before them hides."""
    ranks = tf.range(tf.shape(hides)[0])

    def is_open(listed: tf.Tensor, free: tf.Tensor) -> tf.Tensor:
        num_listed = tf.math.count_nonzero(listed, dtype=tf.int32)
        return tf.reduce_any(free) & (num_listed < num_answers)

    def add(listed: tf.Tensor, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = tf.reduce_min(tf.boolean_mask(ranks, free))
        is_first = ranks == first
        return listed | is_first, free & ~is_first & ~tf.gather(hides, first)

    listed, _ = tf.while_loop(
        is_open, add, (ranks < 0, ranks >= 0), maximum_iterations=num_answers
    )
    return tf.where(listed)[:, 0]


def _padded(
    values: tf.Tensor, size: tf.Tensor | int, padding: str | int
) -> tf.Tensor:
    missing = tf.fill(
        [size - tf.size(values)], tf.constant(padding, values.dtype)
    )
    return tf.ensure_shape(tf.concat([values, missing], 0), [_static(size)])


def _static(size: tf.Tensor | int) -> int | None:
    return size if isinstance(size, int) else None
