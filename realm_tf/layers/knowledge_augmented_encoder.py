"""Joint (query, block) features -> masked-LM logits."""

import functools

import keras
import keras_hub
from keras import ops

from realm_tf.layers.backbone_layer import BackboneLayer


@keras.saving.register_keras_serializable(package="realm_tf")
class KnowledgeAugmentedEncoder(BackboneLayer):
    """Predicts the masked wordpieces of a query, given each candidate block.

    u = LN(gelu(W h_position + b));  logits = E u + b_out

    E is the backbone's word embedding table, so the two are trained as one.
    The softmax of the logits is p(y | z, x).

    Args:
        backbone: `keras_hub.models.BertBackbone`. Its pooler is frozen, as
            nothing reads it.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int tensors `token_ids`, `segment_ids` and
            `padding_mask` (1 = real), each `(batch, num_candidates,
            joint_length)`.
        mask_positions: int tensor `(batch, num_targets)`. Positions of the
            masked wordpieces, padded with 0. They are the same in every
            candidate, because the query comes first.

    Returns:
        float32 tensor `(batch, num_candidates, num_targets, vocabulary_size)`.

    Example:
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=30, num_layers=1, num_heads=1, hidden_dim=4,
    ...     intermediate_dim=8, max_sequence_length=6)
    >>> encoder = KnowledgeAugmentedEncoder(backbone)
    >>> ones = np.ones((1, 5, 6), "int32")
    >>> joint = {
    ...     "token_ids": ones, "segment_ids": ones, "padding_mask": ones}
    >>> tuple(encoder(joint, mask_positions=np.array([[1, 2]])).shape)
    (1, 5, 2, 30)

    Source: Guu et al., 2020, section 3.2 (arXiv:2002.08909); original:
    `language/realm/model.py`. HF: RealmKnowledgeAugEncoder; paper: z is
    `block`.
    """

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.freeze_pooler()
        # Activation and epsilon are those of BERT, not the defaults of the
        # head (ReLU, 1e-5), nor those of `BertMaskedLM` (exact GELU).
        self.masked_lm_head = keras_hub.layers.MaskedLMHead(
            token_embedding=backbone.token_embedding,
            intermediate_activation=functools.partial(
                keras.activations.gelu, approximate=True
            ),
            layer_norm_epsilon=1e-12,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name="masked_lm_head",
        )

    def build(self, inputs_shape, mask_positions_shape):
        self.masked_lm_head.build((None, None, self.backbone.hidden_dim))
        self.built = True

    def start_from_counts(self, counts):
        """Sets the bias of a new head to the frequencies of the tokens.

        Without it the first hundreds of steps learn these frequencies.

        Args:
            counts: int array `(vocabulary_size,)`; 1 is added to each.
        """
        smoothed = ops.cast(counts, "float32") + 1.0
        # The head's own bias is the one of vocabulary size.
        (bias,) = (
            weight
            for weight in self.masked_lm_head.weights
            if weight.path.endswith("output_bias")
        )
        bias.assign(ops.log(smoothed / ops.sum(smoothed)))

    def call(self, inputs, mask_positions, training=None):
        states = self.encode(inputs, "sequence_output", training)
        # Every candidate reads the positions of its query.
        num_candidates = inputs["token_ids"].shape[1]
        positions = ops.repeat(mask_positions, num_candidates, axis=0)
        # (batch * num_candidates, num_targets, vocabulary_size)
        logits = self.masked_lm_head(ops.cast(states, "float32"), positions)
        return self.restore(logits, inputs)
