"""Joint (question, block) features -> span logits."""

import keras
from keras import ops

from realm_tf._constants import MASKED_LOGIT
from realm_tf.layers.backbone_layer import BackboneLayer
from realm_tf.layers.spans import span_mask, span_offsets


@keras.saving.register_keras_serializable(package="realm_tf")
class SpanReader(BackboneLayer):
    """Scores every short span of every candidate block as an answer.

    s(start, end) = w . LN(ReLU(A h_start + B h_end + a)) + b

    Spans are ordered by width, then by start, as `span_positions` lists them.
    The retrieval logit is not added here: `reader_loss` and the caller that
    predicts do that.

    Args:
        backbone: `keras_hub.models.BertBackbone`. Its pooler is frozen, as
            nothing reads it.
        max_span_width: int. Longest answer, in wordpieces. Defaults to 10 (the
            ORQA code).
        span_hidden_dim: int. Width of the hidden layer. Defaults to 256 (the
            ORQA code).
        layer_norm_epsilon: float. Defaults to 1e-3 (the ORQA code).
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int tensors `token_ids`, `segment_ids` and
            `padding_mask` (1 = real), each `(batch, num_candidates,
            joint_length)`. Where `joint_length` is not static, it must be at
            least `max_span_width`.
        block_mask: int or bool tensor `(batch, num_candidates, joint_length)`.
            1 = a wordpiece of the block, so a possible start or end.

    Returns:
        float32 tensor `(batch, num_candidates, num_spans)`. Spans outside of
        the block have the logit -1e9.

    Example:
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=30, num_layers=1, num_heads=1, hidden_dim=4,
    ...     intermediate_dim=8, max_sequence_length=6)
    >>> reader = SpanReader(backbone, max_span_width=2, span_hidden_dim=8)
    >>> ones = np.ones((1, 5, 6), "int32")
    >>> joint = {
    ...     "token_ids": ones, "segment_ids": ones, "padding_mask": ones}
    >>> tuple(reader(joint, block_mask=ones).shape)  # 6 + 5 spans
    (1, 5, 11)

    Source: Lee et al., 2019 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`. HF: RealmReader.
    """

    def __init__(
        self,
        backbone,
        *,
        max_span_width=10,
        span_hidden_dim=256,
        layer_norm_epsilon=1e-3,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.max_span_width = max_span_width
        self.span_hidden_dim = span_hidden_dim
        self.layer_norm_epsilon = layer_norm_epsilon
        self.freeze_pooler()

        # The start half and the end half of the hidden layer in one kernel, as
        # in the checkpoints.
        self.start_end_dense = keras.layers.Dense(
            2 * span_hidden_dim,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name="start_end_dense",
        )
        self.span_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype="float32", name="span_layer_norm"
        )
        self.score_dense = keras.layers.Dense(
            1,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name="score_dense",
        )

    def build(self, inputs_shape, block_mask_shape):
        self.start_end_dense.build((None, None, self.backbone.hidden_dim))
        self.span_layer_norm.build((None, None, self.span_hidden_dim))
        self.score_dense.build((None, None, self.span_hidden_dim))
        self.built = True

    def call(self, inputs, block_mask, training=None):
        joint_length = ops.shape(inputs["token_ids"])[-1]
        states = self.encode(inputs, "sequence_output", training)
        starts, ends = self.start_end(states)
        # Width by width, so that no tensor is larger than `starts`: all spans
        # at once would hold `max_span_width` times as much.
        scores = [
            self.score(starts[:, : joint_length - offset], ends[:, offset:])
            for offset in span_offsets(joint_length, self.max_span_width)
        ]
        logits = self.restore(ops.concatenate(scores, axis=1), inputs)
        mask = span_mask(block_mask, self.max_span_width)
        return ops.where(mask, logits, MASKED_LOGIT)

    def start_end(self, states):
        """A h and B h of states `(..., hidden_dim)`.

        Returns:
            Pair of float32 tensors `(..., span_hidden_dim)`.
        """
        hidden = ops.cast(self.start_end_dense(states), "float32")
        return ops.split(hidden, 2, axis=-1)

    def score(self, starts, ends):
        """Logits `(...,)` of spans, from their rows of `start_end`."""
        hidden = self.span_layer_norm(ops.relu(starts + ends))
        return ops.squeeze(self.score_dense(hidden), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "max_span_width": self.max_span_width,
            "span_hidden_dim": self.span_hidden_dim,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }
