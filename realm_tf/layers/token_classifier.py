"""Token features -> a logit for each label of every wordpiece."""

import keras

from realm_tf.layers.backbone_layer import BackboneLayer


@keras.saving.register_keras_serializable(package="realm_tf")
class TokenClassifier(BackboneLayer):
    """Labels wordpieces: the part of a tagger that learns.

    logits = W h + b, of every state h of the backbone.

    Args:
        backbone: `keras_hub.models.BertBackbone`. Its pooler is frozen, as
            nothing reads it.
        num_labels: int.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int tensors `token_ids`, `segment_ids` and
            `padding_mask` (1 = real), each `(batch, length)`.

    Returns:
        float32 tensor `(batch, length, num_labels)`.

    Example:
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=30, num_layers=1, num_heads=1, hidden_dim=4,
    ...     intermediate_dim=8, max_sequence_length=6)
    >>> ones = np.ones((2, 6), "int32")
    >>> tokens = {
    ...     "token_ids": ones, "segment_ids": ones, "padding_mask": ones}
    >>> tuple(TokenClassifier(backbone, num_labels=9)(tokens).shape)
    (2, 6, 9)

    Source: Devlin et al., 2019, section 5.3 (arXiv:1810.04805).
    """

    def __init__(self, backbone, num_labels, **kwargs):
        super().__init__(backbone, **kwargs)
        self.freeze_pooler()
        self.num_labels = num_labels
        self.classifier = keras.layers.Dense(
            num_labels, dtype="float32", name="classifier"
        )

    def build(self, inputs_shape):
        self.classifier.build((None, None, self.backbone.hidden_dim))
        self.built = True

    def call(self, inputs, training=None):
        states = self.encode(inputs, "sequence_output", training)
        return self.classifier(states)

    def get_config(self):
        return {**super().get_config(), "num_labels": self.num_labels}
