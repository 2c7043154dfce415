"""RealmPretrainer: masked words are predicted through retrieved blocks."""

from typing import Any

import keras
from keras import ops

from realm_tf._constants import NULL_BLOCK_POSITION
from realm_tf._replicas import sum_over_replicas, weighted_mean
from realm_tf.layers.backbone_layer import tower_features
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.retriever import Retriever
from realm_tf.losses.marginal_likelihood import (
    MARGINALIZATIONS,
    marginal_mlm_loss,
    retrieval_utility,
    token_log_probs,
)
from realm_tf.models.pretrainer import Pretrainer

_METRICS = (
    "null_mlm_loss",
    "retrieval_utility",
    "null_probability",
    "index_age",
)
_NULL_LENGTH = 3  # [CLS] [SEP] [SEP]


@keras.saving.register_keras_serializable(package="realm_tf")
class RealmPretrainer(Pretrainer):
    """Learns to retrieve and to read from masked words alone.

    p(y | x) = sum_z p(y | z, x) p(z | x), over the null block and the blocks
    that the input stage retrieved. The blocks are re-embedded with the current
    weights, so the gradient reaches both embedders and the encoder. The model
    takes numbers only; text, files and search stay in the input stage.

    With the null block as the only candidate, p(z | x) is 1, and nothing is
    embedded. The null block is embedded once for the batch, and read at the
    length of the sentence, with the same result in less time.

    Args:
        embedder: `Embedder` of blocks, and of sentences if they have none of
            their own.
        encoder: `KnowledgeAugmentedEncoder`.
        query_embedder: `Embedder` of sentences; defaults to `embedder`, as
            published.
        marginalize: `"token"` (the original code) or `"example"` (the paper),
            see `marginal_mlm_loss`.
        train_retriever: `False` freezes the embedders while the encoder learns
            to read: their variables are made untrainable.
        gradient_checkpointing: `True` recomputes the transformer layers for the
            gradient instead of keeping their activations: less memory, more
            time, the same loss. Embedders and encoder keep the setting.
        **kwargs: of `keras.Model`.

    Call arguments:
        inputs: dict of `MaskedSentenceDataset`: int tensors `query_token_ids`,
            `query_segment_ids`, `query_padding_mask` `(batch, query_length)`,
            `candidate_...` `(batch, num_candidates, block_length)`,
            `joint_...` `(batch, num_candidates, joint_length)`,
            `candidate_mask` `(batch, num_candidates)`, `mask_positions`,
            `mask_ids`, `mask_weights` `(batch, num_targets)` and `index_age`
            `(batch,)`. The first candidate is the null block: `[CLS] [SEP]
            [SEP]` in every row.

    Returns:
        dict of float32 `retrieval_logits` `(batch, num_candidates)` and
        `gold_log_probs` `(batch, num_candidates, num_targets)`, in nats.

    Raises:
        ValueError: if `marginalize` is unknown.

    Example:
    ```python
    qa = RealmQA.from_preset("bert-base-uncased")
    corpus = qa.build_index("passages.jsonl").corpus
    data = MaskedSentenceDataset(
        corpus,
        make_masks("random-spans", corpus),
        FixedIndex(qa),
        qa.featurizer,
        MaskedSentenceOptions(batch_size=16),
    )
    model = RealmPretrainer(qa.block_embedder, new_encoder(qa, corpus))
    model.compile(optimizer=BertAdamW(3e-5))
    model.fit(data, epochs=1)
    ```
    `RealmQA.pretrain` also refreshes the index, and can resume.

    Source: Guu et al., 2020, section 3 (arXiv:2002.08909); original:
    `language/realm/model.py`. HF: RealmEmbedder, RealmScorer and
    RealmKnowledgeAugEncoder.
    """

    def __init__(
        self,
        embedder: Embedder,
        encoder: KnowledgeAugmentedEncoder,
        query_embedder: Embedder | None = None,
        *,
        marginalize: str = "token",
        train_retriever: bool = True,
        gradient_checkpointing: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if marginalize not in MARGINALIZATIONS:
            raise ValueError(
                f"`marginalize` must be one of {MARGINALIZATIONS}. Received: "
                f'marginalize={marginalize!r}. Use "token" for the loss of the '
                "released models."
            )
        self.embedder = embedder
        self.encoder = encoder
        self.query_embedder = query_embedder or embedder
        self.marginalize = marginalize
        self.train_retriever = train_retriever
        self.gradient_checkpointing = gradient_checkpointing
        for layer in (self.embedder, self.query_embedder, self.encoder):
            layer.gradient_checkpointing = gradient_checkpointing
        self.retriever = Retriever(name="retriever")
        self._means = {name: keras.metrics.Mean(name=name) for name in _METRICS}

    def build(self, inputs_shape: Any) -> None:
        for embedder in (self.embedder, self.query_embedder):
            if not embedder.built:
                embedder.build(None)
            if not self.train_retriever:
                for variable in embedder.trainable_variables:
                    variable.trainable = False
        self.retriever.build(None, None)
        if not self.encoder.built:
            self.encoder.build(None, None)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return {
            "retrieval_logits": self._retrieval_logits(inputs, training),
            "gold_log_probs": self._gold_log_probs(inputs, training),
        }

    def _retrieval_logits(self, inputs: Any, training: bool | None) -> Any:
        mask = inputs["candidate_mask"]
        if mask.shape[1] == 1:
            return ops.zeros_like(mask, dtype="float32")
        if not self.train_retriever:
            training = False  # no dropout either
        query = tower_features(inputs, "query")
        logits = self.retriever(
            self.query_embedder(query, training=training),
            self._embed_candidates(inputs, training),
            candidate_mask=mask,
        )
        return logits if self.train_retriever else ops.stop_gradient(logits)

    def _embed_candidates(self, inputs: Any, training: bool | None) -> Any:
        candidates = tower_features(inputs, "candidate")
        null = {n: x[:1, :1, :_NULL_LENGTH] for n, x in candidates.items()}
        blocks = self.embedder(
            {n: x[:, NULL_BLOCK_POSITION + 1 :] for n, x in candidates.items()},
            training=training,
        )
        shape = (ops.shape(blocks)[0], 1, self.embedder.embedding_dim)
        null = ops.broadcast_to(self.embedder(null, training=training), shape)
        return ops.concatenate([null, blocks], axis=1)

    def _gold_log_probs(self, inputs: Any, training: bool | None) -> Any:
        joint = tower_features(inputs, "joint")
        # A sentence and the null block: one more [SEP] than the query has.
        length = ops.shape(inputs["query_token_ids"])[1] + 1
        # One slice for each axis, or TensorFlow forgets that the first is 1.
        parts = [{n: x[:, :1][..., :length] for n, x in joint.items()}]
        if inputs["candidate_mask"].shape[1] > 1:
            parts.append(
                {n: x[:, NULL_BLOCK_POSITION + 1 :] for n, x in joint.items()}
            )
        log_probs = [
            token_log_probs(
                self.encoder(part, inputs["mask_positions"], training=training),
                inputs["mask_ids"],
            )
            for part in parts
        ]
        return ops.concatenate(log_probs, axis=1)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        logits, log_probs = y_pred["retrieval_logits"], y_pred["gold_log_probs"]
        weights = ops.cast(x["mask_weights"], "float32")
        is_counted = ops.any(weights > 0, axis=-1)
        counted = weights if self.marginalize == "token" else is_counted
        count = ops.sum(ops.cast(counted, "float32"))
        # The mean is over the targets of all replicas, which may differ.
        total = sum_over_replicas(count)
        loss = marginal_mlm_loss(logits, log_probs, weights, self.marginalize)
        self._update_metrics(x, logits, log_probs, weights)
        return loss * count / ops.where(total > 0, total, 1.0)

    def _update_metrics(
        self, x: Any, logits: Any, log_probs: Any, weights: Any
    ) -> None:
        # Keras' softmax warns where the null block is alone.
        block_probs = ops.exp(ops.log_softmax(logits, axis=-1))
        rows = ops.ones_like(block_probs[:, 0])
        utility = retrieval_utility(logits, log_probs, weights)
        for name, values, counts in (
            ("null_mlm_loss", -log_probs[:, NULL_BLOCK_POSITION], weights),
            ("retrieval_utility", utility, ops.sum(weights)),
            ("null_probability", block_probs[:, NULL_BLOCK_POSITION], rows),
            ("index_age", x["index_age"], rows),
        ):
            mean, total = weighted_mean(values, counts)
            self._means[name].update_state(mean, sample_weight=total)

    def get_config(self) -> dict[str, Any]:
        is_shared = self.query_embedder is self.embedder
        parts = {
            "embedder": self.embedder,
            "encoder": self.encoder,
            "query_embedder": None if is_shared else self.query_embedder,
        }
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(part)
                for name, part in parts.items()
            },
            "marginalize": self.marginalize,
            "train_retriever": self.train_retriever,
            "gradient_checkpointing": self.gradient_checkpointing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RealmPretrainer":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("embedder", "encoder", "query_embedder")
        }
        return cls(**{**config, **parts})
