"""Losses of open-domain question answering: find the block, read the span."""

from keras import ops

from realm_tf._constants import MASKED_LOGIT


def masked_marginal_loss(logits, is_positive, mask=None):
    """Negative log of the probability that any positive has.

    -log p = logsumexp(logits) - logsumexp(logits of the positives)

    An example without a positive says nothing, so its loss and its gradient
    are 0. The original adds -10000 to excluded logits, where this excludes
    them exactly; so it differs once logits come near -10000.

    Args:
        logits: float tensor `(batch, num_choices)`.
        is_positive: bool tensor `(batch, num_choices)`.
        mask: optional bool tensor `(batch, num_choices)`. False takes a choice
            out of the softmax, and a positive with it.

    Returns:
        float32 tensor `(batch,)`, in nats.

    Example:
    >>> loss = masked_marginal_loss([[1.0, 2.0, 3.0]], [[True, False, False]])
    >>> float(loss[0])
    2.4076...

    Source: Lee et al., 2019 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`.
    """
    logits = ops.cast(logits, "float32")
    is_positive = ops.cast(is_positive, "bool")
    if mask is not None:
        mask = ops.cast(mask, "bool")
        logits = ops.where(mask, logits, MASKED_LOGIT)
        is_positive = ops.logical_and(is_positive, mask)
    positive_logits = ops.where(is_positive, logits, MASKED_LOGIT)
    loss = ops.logsumexp(logits, axis=-1) - ops.logsumexp(
        positive_logits, axis=-1
    )
    return ops.where(ops.any(is_positive, axis=-1), loss, 0.0)


def retrieval_loss(retrieval_logits, answer_mask, candidate_mask=None):
    """Loss of retrieving any block that contains an answer ("early" loss).

    Args:
        retrieval_logits: float tensor `(batch, num_candidates)`.
        answer_mask: bool tensor `(batch, num_candidates)`. True = the text of
            the block contains an answer.
        candidate_mask: optional bool tensor `(batch, num_candidates)`. False =
            the search found no such block.

    Returns:
        float32 tensor `(batch,)`, in nats.

    Example:
    >>> loss = retrieval_loss([[0.0, 0.0]], [[True, False]])
    >>> float(loss[0])  # -log(1 / 2)
    0.6931...

    Source: Lee et al., 2019 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`.
    """
    return masked_marginal_loss(retrieval_logits, answer_mask, candidate_mask)


def reader_loss(span_logits, retrieval_logits, gold_mask, candidate_mask=None):
    """Loss of reading any gold span out of any block that is read.

    Every span's logit is raised by the retrieval logit of its block, and one
    softmax runs over all spans of all blocks of a question. So the gradient
    reaches the question embedder too.

    Args:
        span_logits: float tensor `(batch, num_candidates, num_spans)`.
        retrieval_logits: float tensor `(batch, num_candidates)`.
        gold_mask: bool tensor `(batch, num_candidates, num_spans)`. True = the
            span spells an answer; see `gold_span_mask`.
        candidate_mask: optional bool tensor `(batch, num_candidates)`. False
            takes a block out of the softmax.

    Returns:
        float32 tensor `(batch,)`, in nats.

    Example:
    >>> loss = reader_loss(
    ...     [[[0.0], [0.0]]], [[0.0, np.log(3.0)]], [[[True], [False]]])
    >>> float(loss[0])  # -log(1 / 4)
    1.3862...

    Source: Lee et al., 2019 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`.
    """
    span_logits = ops.cast(span_logits, "float32")
    retrieval_logits = ops.cast(retrieval_logits, "float32")
    joint_logits = span_logits + ops.expand_dims(retrieval_logits, axis=-1)
    mask = None
    if candidate_mask is not None:
        mask = ops.expand_dims(ops.cast(candidate_mask, "bool"), axis=-1)
        mask = _flatten_choices(ops.broadcast_to(mask, joint_logits.shape))
    return masked_marginal_loss(
        _flatten_choices(joint_logits), _flatten_choices(gold_mask), mask
    )


def _flatten_choices(x):
    return ops.reshape(x, (ops.shape(x)[0], -1))
