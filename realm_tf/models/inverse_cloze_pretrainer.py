"""InverseClozePretrainer: a retriever learns to find a sentence's block."""

from typing import Any

import keras
from keras import ops

from realm_tf._constants import MASKED_LOGIT
from realm_tf._replicas import (
    gather_over_replicas,
    share_of_mean,
    weighted_mean,
)
from realm_tf.layers.backbone_layer import tower_features
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.retriever import Retriever
from realm_tf.models.pretrainer import Pretrainer

_METRICS = (
    "accuracy",
    "masked_accuracy",
    "unmasked_accuracy",
    "actual_mask_ratio",
    "query_non_padding",
    "block_non_padding",
)


@keras.saving.register_keras_serializable(package="realm_tf")
class InverseClozePretrainer(Pretrainer):
    """Inverse Cloze Task: a sentence retrieves its source block.

    logits_ij = e(sentence_i) . e(block_j), over the blocks j of all replicas;
    loss = mean_i -log softmax_j(logits_ij) at j = i

    Args:
        embedder: `Embedder` of blocks, and of sentences if they have none of
            their own.
        query_embedder: `Embedder` of sentences; defaults to `embedder`, as
            published.
        mask_duplicates: a block that is in the batch twice is no negative of
            itself. The original keeps it as one.
        chunk_size: rows that are embedded at once; `None` for all. Smaller
            ones need less memory: what the chunks compute is forgotten and
            recomputed for the gradient, which is the same. But it comes
            summed by table row: where `BertAdamW` clips, its
            `official_clipping` counts the summed row in place of each look-up,
            and the step may differ by a few per cent.
        **kwargs: of `keras.Model`.

    Call arguments:
        inputs: dict of `InverseClozeDataset`: int tensors `query_token_ids`,
            `query_segment_ids`, `query_padding_mask` `(batch, query_length)`,
            `block_...` `(batch, block_length)`, `block_keys` and `is_removed`
            `(batch,)`.

    Returns:
        dict of float32 `query_embeddings` and `block_embeddings` `(batch,
        embedding_dim)`.

    Source: Lee et al., 2019, section 6 (arXiv:1906.00300); original:
    `language/orqa/models/ict_model.py`.
    """

    def __init__(
        self,
        embedder: Embedder,
        query_embedder: Embedder | None = None,
        *,
        mask_duplicates: bool = True,
        chunk_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(
                "`chunk_size` must be 1 or more, or None. Received: "
                f"chunk_size={chunk_size}. Leave it out to embed all rows at "
                "once."
            )
        self.embedder = embedder
        self.query_embedder = query_embedder or embedder
        self.mask_duplicates = mask_duplicates
        self.chunk_size = chunk_size
        # The last chunk may be smaller, and XLA wants to know by how much.
        self.supports_jit = chunk_size is None
        self.retriever = Retriever(name="retriever")
        self._means = {name: keras.metrics.Mean(name=name) for name in _METRICS}

    def build(self, inputs_shape: Any) -> None:
        for embedder in (self.embedder, self.query_embedder):
            if not embedder.built:
                embedder.build(None)
        self.retriever.build(None, None)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return {
            f"{prefix}_embeddings": embedder(
                tower_features(inputs, prefix), training=training
            )
            for prefix, embedder in self.towers
        }

    @property
    def towers(self) -> tuple[tuple[str, Embedder], ...]:
        """Prefix of the features, and embedder, of sentences and of blocks."""
        return (("query", self.query_embedder), ("block", self.embedder))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        blocks, first = gather_over_replicas(y_pred["block_embeddings"])
        logits = self.retriever(y_pred["query_embeddings"], blocks)
        rows = ops.shape(logits)[0]
        own = ops.arange(rows) + first  # place of the row's source block
        is_own = ops.expand_dims(own, 1) == ops.arange(ops.shape(blocks)[0])
        if self.mask_duplicates:
            keys, _ = gather_over_replicas(x["block_keys"])
            is_same = ops.expand_dims(x["block_keys"], 1) == keys
            is_duplicate = ops.logical_and(is_same, ops.logical_not(is_own))
            logits = ops.where(is_duplicate, MASKED_LOGIT, logits)
        own_logits = ops.sum(ops.where(is_own, logits, 0.0), axis=-1)
        losses = ops.logsumexp(logits, axis=-1) - own_logits
        self._update_metrics(x, ops.argmax(logits, axis=-1) == own)
        return share_of_mean(losses, ops.ones_like(losses))

    def _update_metrics(self, x: Any, is_right: Any) -> None:
        is_removed = ops.cast(x["is_removed"], "float32")
        everything = ops.ones_like(is_removed)
        for name, values, weights in (
            ("accuracy", is_right, everything),
            ("masked_accuracy", is_right, is_removed),
            ("unmasked_accuracy", is_right, 1.0 - is_removed),
            ("actual_mask_ratio", is_removed, everything),
            ("query_non_padding", x["query_padding_mask"], None),
            ("block_non_padding", x["block_padding_mask"], None),
        ):
            weights = ops.ones_like(values) if weights is None else weights
            mean, total = weighted_mean(values, weights)
            self._means[name].update_state(mean, sample_weight=total)

    def train_step(self, *args: Any) -> Any:
        if self.chunk_size is None:
            return super().train_step(*args)
        from realm_tf.models.gradient_cache import cached_train_step

        return cached_train_step(self, *args)

    def get_config(self) -> dict[str, Any]:
        is_shared = self.query_embedder is self.embedder
        return {
            **super().get_config(),
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "query_embedder": keras.saving.serialize_keras_object(
                None if is_shared else self.query_embedder
            ),
            "mask_duplicates": self.mask_duplicates,
            "chunk_size": self.chunk_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InverseClozePretrainer":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("embedder", "query_embedder")
        }
        return cls(**{**config, **parts})
