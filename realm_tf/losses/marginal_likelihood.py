"""Masked-LM likelihood, marginalised over candidate blocks."""

from keras import ops

from realm_tf._constants import NULL_BLOCK_POSITION

MARGINALIZATIONS = ("token", "example")


def token_log_probs(mlm_logits, mask_ids):
    """Log-probability of every masked wordpiece, for each candidate block.

    Args:
        mlm_logits: float tensor `(batch, num_candidates, num_targets,
            vocabulary_size)`.
        mask_ids: int tensor `(batch, num_targets)`. The wordpieces that were
            masked, padded with 0.

    Returns:
        float32 tensor `(batch, num_candidates, num_targets)`, in nats.
        log p(y | z, x) of every target.

    Example:
    >>> x = token_log_probs([[[[0.0, np.log(3.0)]]]], [[1]])
    >>> float(x[0, 0, 0])  # log(3 / 4)
    -0.2876...

    Source: Guu et al., 2020, section 3.2 (arXiv:2002.08909).
    """
    logits = ops.cast(mlm_logits, "float32")
    ids = ops.expand_dims(ops.expand_dims(mask_ids, 1), -1)
    ids = ops.broadcast_to(ids, ops.shape(logits)[:-1] + (1,))
    # Gathering first keeps a second tensor of vocabulary size from being made.
    gold_logits = ops.squeeze(ops.take_along_axis(logits, ids, axis=-1), -1)
    return gold_logits - ops.logsumexp(logits, axis=-1)


def marginal_log_likelihood(retrieval_logits, gold_log_probs):
    """Log-likelihood of each target, marginalised over candidate blocks.

    log p(y | x) = logsumexp_z [ log p(z | x) + log p(y | z, x) ], with
    p(z | x) a softmax of `retrieval_logits` over the candidates.

    Args:
        retrieval_logits: float tensor `(batch, num_candidates)`. Inner product
            of the query and block embeddings. Position 0 is the null block.
        gold_log_probs: float tensor `(batch, num_candidates, num_targets)`, in
            nats. log p(y | z, x) of every target.

    Returns:
        float32 tensor `(batch, num_targets)`, in nats.

    Raises:
        ValueError: if the `num_candidates` axes differ.

    Example:
    >>> x = marginal_log_likelihood([[0.0, 0.0]], np.log([[[0.2], [0.6]]]))
    >>> float(x[0, 0])  # log(0.5 * 0.2 + 0.5 * 0.6)
    -0.916...

    Source: Guu et al., 2020, section 3.1 (arXiv:2002.08909).
    """
    retrieval_logits = ops.cast(retrieval_logits, "float32")
    gold_log_probs = ops.cast(gold_log_probs, "float32")
    if retrieval_logits.shape[1] != gold_log_probs.shape[1]:
        raise ValueError(
            "`retrieval_logits` and `gold_log_probs` must have the same "
            "`num_candidates` (axis 1). Received: "
            f"retrieval_logits.shape={tuple(retrieval_logits.shape)}, "
            f"gold_log_probs.shape={tuple(gold_log_probs.shape)}. Score the "
            "blocks that were read, the null block included."
        )
    block_log_probs = ops.log_softmax(retrieval_logits, axis=-1)
    joint_log_probs = ops.expand_dims(block_log_probs, -1) + gold_log_probs
    return ops.logsumexp(joint_log_probs, axis=1)


def marginal_mlm_loss(
    retrieval_logits, gold_log_probs, mask_weights, marginalize="token"
):
    """Negative marginal log-likelihood of the masked wordpieces of a batch.

    Args:
        retrieval_logits: float tensor `(batch, num_candidates)`.
        gold_log_probs: float tensor `(batch, num_candidates, num_targets)`, in
            nats; see `token_log_probs`.
        mask_weights: float tensor `(batch, num_targets)`. 1 = counted, 0 =
            padding.
        marginalize: `"token"` sums over blocks for every target by itself and
            averages over the targets of the batch, as the original code does.
            `"example"` sums over blocks for all targets of an example
            together, as the paper does, and averages over the examples that
            have a target.

    Returns:
        float32 scalar, in nats per target or per example; 0 when nothing is
        counted.

    Raises:
        ValueError: if `marginalize` is unknown, or the `num_candidates` axes
            differ.

    Example:
    >>> log_probs = np.log([[[0.2, 0.5], [0.6, 0.5]]])
    >>> loss = marginal_mlm_loss([[0.0, 0.0]], log_probs, [[1.0, 0.0]])
    >>> float(loss)  # -log(0.5 * 0.2 + 0.5 * 0.6)
    0.916...

    Source: Guu et al., 2020, section 3.2 (arXiv:2002.08909); original:
    `language/realm/model.py`.
    """
    if marginalize not in MARGINALIZATIONS:
        raise ValueError(
            f"`marginalize` must be one of {MARGINALIZATIONS}. "
            f"Received: marginalize={marginalize!r}. "
            'Use "token" for the loss of the released models.'
        )
    weights = ops.cast(mask_weights, "float32")
    gold_log_probs = ops.cast(gold_log_probs, "float32")
    if marginalize == "example":
        gold_log_probs = ops.sum(
            gold_log_probs * ops.expand_dims(weights, 1), axis=-1, keepdims=True
        )
        weights = ops.cast(
            ops.any(weights > 0, axis=-1, keepdims=True), "float32"
        )
    likelihood = marginal_log_likelihood(retrieval_logits, gold_log_probs)
    return -_weighted_mean(likelihood, weights)


def retrieval_utility(retrieval_logits, gold_log_probs, mask_weights):
    """How much the retrieved blocks help, over reading no block.

    log p(y | x) - log p(y | null block, x), averaged over the targets of the
    batch. The official code selects checkpoints by it; higher is better.

    Args:
        retrieval_logits: float tensor `(batch, num_candidates)`. Position 0 is
            the null block.
        gold_log_probs: float tensor `(batch, num_candidates, num_targets)`, in
            nats; see `token_log_probs`.
        mask_weights: float tensor `(batch, num_targets)`. 1 = counted, 0 =
            padding.

    Returns:
        float32 scalar, in nats per target; 0 when nothing is counted.

    Raises:
        ValueError: if the `num_candidates` axes differ.

    Example:
    >>> log_probs = np.log([[[0.2], [0.6]]])
    >>> utility = retrieval_utility([[0.0, 0.0]], log_probs, [[1.0]])
    >>> float(utility)  # log(0.4 / 0.2)
    0.693...

    Source: Guu et al., 2020, appendix D (arXiv:2002.08909), which defines it
    for each block; original: `language/realm/model.py`.
    """
    likelihood = marginal_log_likelihood(retrieval_logits, gold_log_probs)
    gold_log_probs = ops.cast(gold_log_probs, "float32")
    utility = likelihood - gold_log_probs[:, NULL_BLOCK_POSITION]
    return _weighted_mean(utility, ops.cast(mask_weights, "float32"))


def _weighted_mean(values, weights):
    count = ops.sum(weights)
    return ops.sum(values * weights) / ops.where(count > 0, count, 1.0)
