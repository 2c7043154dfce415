"""Text features -> embeddings: one class for queries and for blocks."""

import keras
from keras import ops

from realm_tf.layers.backbone_layer import BackboneLayer

POOLINGS = ("cls", "mean", "first")
ACTIVATIONS = ("linear", "tanh", "relu", "gelu")


@keras.saving.register_keras_serializable(package="realm_tf")
class Embedder(BackboneLayer):
    """Embeds token features; queries and blocks may share one embedder.

    With `pooling="cls"`, the embedder of REALM and ORQA:

    e(t) = dropout(LN(W tanh(W_p h_[CLS] + b_p) + b))

    With `pooling="mean"`, for backbones trained as sentence encoders: the mean
    of the backbone's states over the real tokens, L2-normalised, replaces the
    tanh pooler. The backbone's own pooler is then unused, and frozen.

    With `pooling="first"`, for sentence encoders of the BGE kind: the
    backbone's state of `[CLS]`, L2-normalised, without the pooler.

    The dense layer of a sentence encoder is the projection with its
    `activation`; it takes states that are not normalised, and `embedding_norm`
    normalises after it.

    The projection, the layer norm and the output are float32 under every dtype
    policy, so that embeddings are as exact as the index they are compared to.

    Args:
        backbone: `keras_hub.models.BertBackbone`.
        embedding_dim: int. Width of the embedding. Defaults to 128 (Lee et
            al., 2019).
        pooling: `"cls"`, `"mean"` or `"first"`.
        layer_norm_epsilon: float, or `None` for no layer norm. Defaults to
            1e-12, that of the released REALM embedder; ORQA's open training
            code has 1e-3.
        dropout: float. Rate of the dropout on the embedding itself, in
            training. Defaults to 0.1 (the ORQA code).
        activation: `"linear"`, `"tanh"`, `"relu"` or `"gelu"` of the
            projection.
        normalize_states: bool. L2-normalise pooled states; the states of
            `"cls"` pooling never are. Defaults to `True`.
        embedding_norm: float, or `None`. L2 norm that embeddings are given.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int tensors `token_ids`, `segment_ids` and
            `padding_mask` (1 = real), each `(..., length)` with any leading
            axes.

    Returns:
        float32 tensor `(..., embedding_dim)`.

    Raises:
        ValueError: if `pooling` or `activation` is unknown.

    Example:
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=30, num_layers=1, num_heads=1, hidden_dim=4,
    ...     intermediate_dim=8, max_sequence_length=6)
    >>> embedder = Embedder(backbone, embedding_dim=3)
    >>> blocks = {
    ...     "token_ids": np.ones((2, 5, 6), "int32"),
    ...     "segment_ids": np.zeros((2, 5, 6), "int32"),
    ...     "padding_mask": np.ones((2, 5, 6), "int32")}
    >>> tuple(embedder(blocks).shape)
    (2, 5, 3)

    Source: Guu et al., 2020, section 3.2 (arXiv:2002.08909); original:
    `language/orqa/models/ict_model.py`. HF: RealmEmbedder.
    """

    def __init__(
        self,
        backbone,
        *,
        embedding_dim=128,
        pooling="cls",
        layer_norm_epsilon=1e-12,
        dropout=0.1,
        activation="linear",
        normalize_states=True,
        embedding_norm=None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        if pooling not in POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {POOLINGS}. "
                f"Received: pooling={pooling!r}. "
                'Use "cls" for checkpoints of REALM and ORQA.'
            )
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {ACTIVATIONS}. "
                f"Received: activation={activation!r}. "
                'Use "linear" for checkpoints of REALM and ORQA.'
            )
        self.embedding_dim = embedding_dim
        self.pooling = pooling
        self.layer_norm_epsilon = layer_norm_epsilon
        self.dropout = dropout
        self.activation = activation
        self.normalize_states = normalize_states
        self.embedding_norm = embedding_norm
        if pooling != "cls":
            self.freeze_pooler()

        self.projection = keras.layers.Dense(
            embedding_dim,
            activation=activation,
            dtype="float32",
            name="projection",
        )
        self.layer_norm = None
        if layer_norm_epsilon is not None:
            self.layer_norm = keras.layers.LayerNormalization(
                epsilon=layer_norm_epsilon, dtype="float32", name="layer_norm"
            )
        self.output_dropout = keras.layers.Dropout(
            dropout, dtype="float32", name="output_dropout"
        )

    def build(self, inputs_shape):
        self.projection.build((None, self.backbone.hidden_dim))
        if self.layer_norm is not None:
            self.layer_norm.build((None, self.embedding_dim))
        self.built = True

    def call(self, inputs, training=None):
        x = self.project(self._pool(inputs, training))
        return self.restore(self.output_dropout(x, training=training), inputs)

    def project(self, pooled):
        """Embeddings `(n, embedding_dim)` of pooled states `(n, hidden_dim)`.

        For "cls" pooling the pooled states are the backbone's
        `pooled_output`, otherwise what `pool_sums` returns.
        """
        x = self.projection(pooled)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        if self.embedding_norm is not None:
            x = ops.normalize(x, axis=-1) * self.embedding_norm
        return x

    def pool_sums(self, sums, lengths):
        """Pooled states `(n, hidden_dim)` of the sums of `lengths` states.

        The mean is a positive multiple of the sum, so normalising the sum
        gives the same vector and needs no division by the length.
        """
        if self.normalize_states:
            return ops.normalize(sums, axis=-1)
        lengths = ops.cast(ops.maximum(lengths, 1), sums.dtype)
        return sums / ops.reshape(lengths, (-1, 1))

    def _pool(self, inputs, training):
        if self.pooling == "cls":
            return self.encode(inputs, "pooled_output", training)
        states = self.encode(inputs, "sequence_output", training)
        states = ops.cast(states, "float32")
        if self.pooling == "first":
            return self.pool_sums(states[:, 0], ops.ones_like(states[:, 0, 0]))
        mask = ops.cast(ops.reshape(inputs["padding_mask"], (-1, 1)), "float32")
        mask = ops.reshape(mask, ops.shape(states)[:2] + (1,))
        sums = ops.sum(states * mask, axis=1)
        return self.pool_sums(sums, ops.sum(mask, axis=(1, 2)))

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "pooling": self.pooling,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "dropout": self.dropout,
            "activation": self.activation,
            "normalize_states": self.normalize_states,
            "embedding_norm": self.embedding_norm,
        }
