"""PaddedBackbone: a BERT backbone over batches of few, static shapes."""

import keras_hub
import tensorflow as tf

from realm_tf.engine.packed_backbone import PackedTokens

_LENGTH_STEP = 32  # tokens; so few lengths that XLA compiles each once


class PaddedBackbone(tf.Module):
    """The states of a `BertBackbone`, for compilers that want static shapes.

    Computes the same as `PackedBackbone`, padding included: rows are as long
    as the next multiple of 32 tokens, and as many as the next power of two.

    Args:
        backbone: `keras_hub.models.BertBackbone`.
    """

    def __init__(self, backbone: keras_hub.models.BertBackbone):
        super().__init__()
        self._most = backbone.max_sequence_length
        self._hidden_dim = backbone.hidden_dim
        self._states = tf.function(
            lambda features: backbone(features, training=False)[
                "sequence_output"
            ],
            autograph=False,
            jit_compile=True,
        )

    def refresh(self) -> None:
        """Does nothing: this class computes with the backbone's weights."""

    def __call__(self, tokens: PackedTokens) -> tf.Tensor:
        """Float32 states `(num_tokens, hidden_dim)`."""
        longest = tf.reduce_max(tf.concat([tokens.lengths, [1]], 0))
        length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        length = tf.minimum(length, self._most)
        num_rows = _next_power_of_two(tf.size(tokens.lengths))
        places = tf.stack([tokens.rows, tokens.positions], 1)
        shape = tf.stack([num_rows, length])
        features = {
            name: tf.scatter_nd(places, values, shape)
            for name, values in (
                ("token_ids", tokens.token_ids),
                ("segment_ids", tokens.segment_ids),
                ("padding_mask", tf.ones_like(tokens.token_ids)),
            )
        }
        states = tf.gather_nd(self._states(features), places)
        states = tf.ensure_shape(states, [None, self._hidden_dim])
        return tf.cast(states, tf.float32)


def _next_power_of_two(number: tf.Tensor) -> tf.Tensor:
    powers = tf.constant([2**i for i in range(31)], tf.int32)
    return tf.gather(powers, tf.searchsorted(powers, [number])[0])
