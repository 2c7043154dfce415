"""PackedBackbone: a BERT backbone over tokens without padding."""

from typing import Any, NamedTuple

import keras_hub
import tensorflow as tf

# Every change of weights that training makes moves every part of a kernel, so
# a grid of elements tells whether copies are still true.
_ROW_STEP, _COLUMN_STEP = 17, 19


class PackedTokens(NamedTuple):
    """The tokens of several rows, one row after the other.

    Args:
        token_ids: int32 `(num_tokens,)`.
        segment_ids: int32 `(num_tokens,)`.
        rows: int32 `(num_tokens,)`, the row of each token.
        positions: int32 `(num_tokens,)`, its place in the row.
        lengths: int32 `(num_rows,)`, tokens of each row.
    """

    token_ids: tf.Tensor
    segment_ids: tf.Tensor
    rows: tf.Tensor
    positions: tf.Tensor
    lengths: tf.Tensor

    @classmethod
    def of(cls, features: dict[str, tf.Tensor]) -> "PackedTokens":
        """The real tokens of padded features `(num_rows, length)`."""
        places = tf.cast(tf.where(features["padding_mask"] > 0), tf.int32)
        return cls(
            tf.gather_nd(features["token_ids"], places),
            tf.gather_nd(features["segment_ids"], places),
            places[:, 0],
            places[:, 1],
            tf.reduce_sum(features["padding_mask"], axis=1),
        )


class PackedBackbone(tf.Module):
    """The states of a `BertBackbone`, computed for real tokens alone.

    Dense layers see one matrix of all tokens of all rows. Attention alone is
    padded, to the longest row. Bias and activation are written so that
    TensorFlow computes them together with the matrix product. Layer norms and
    the residual stream are float32 under every dtype policy.

    In half precision the kernels are copied once; see `refresh`.

    Args:
        backbone: `keras_hub.models.BertBackbone`.
    """

    def __init__(self, backbone: keras_hub.models.BertBackbone):
        super().__init__()
        self._backbone = backbone
        self._dtype = tf.as_dtype(backbone.transformer_layers[0].compute_dtype)
        self._hidden_dim = backbone.hidden_dim
        self._num_heads = backbone.num_heads
        self._epsilon = backbone.embeddings_layer_norm.epsilon
        self._layers = [
            _named_weights(layer) for layer in backbone.transformer_layers
        ]
        self._copies: dict[int, dict[str, tf.Variable]] = {}
        if self._dtype != tf.float32:
            self._copies = {
                i: {
                    name: tf.Variable(
                        tf.cast(value, self._dtype), trainable=False
                    )
                    for name, value in weights.items()
                    if name.endswith("kernel")
                }
                for i, weights in enumerate(self._layers)
            }
            self._has_moved = tf.function(self._compare, autograph=False)

    def refresh(self) -> None:
        """Copies the kernels, if the kernels of the backbone have changed."""
        if self._copies and bool(self._has_moved()):
            for i, copies in self._copies.items():
                for name, copy in copies.items():
                    copy.assign(tf.cast(self._layers[i][name], self._dtype))

    def __call__(self, tokens: PackedTokens) -> tf.Tensor:
        """Float32 states `(num_tokens, hidden_dim)`."""
        backbone = self._backbone
        x = (
            _looked_up(backbone.token_embedding, tokens.token_ids)
            + _looked_up(backbone.position_embedding, tokens.positions)
            + _looked_up(backbone.segment_embedding, tokens.segment_ids)
        )
        norm = backbone.embeddings_layer_norm
        x = self._normalise(x, norm.gamma.value, norm.beta.value)
        attention = _Attention.over(tokens, self._dtype)
        for i, layer in enumerate(backbone.transformer_layers):
            x = self._transform(i, layer.activation, x, attention)
        return x

    def _transform(
        self, i: int, activation: Any, x: tf.Tensor, attention: "_Attention"
    ) -> tf.Tensor:
        heads = [self._num_heads, self._hidden_dim // self._num_heads]
        narrow = tf.cast(x, self._dtype)
        query, key, value = (
            attention.spread(
                self._dense(i, f"self_attention_layer/{name}", narrow), heads
            )
            for name in ("query", "key", "value")
        )
        query *= tf.cast(heads[1] ** -0.5, self._dtype)
        logits = tf.matmul(query, key, transpose_b=True) + attention.mask
        context = tf.matmul(tf.nn.softmax(logits), value)
        context = attention.gather(context, self._hidden_dim)
        x = self._add(
            i,
            "self_attention_layer_norm",
            x,
            self._dense(i, "self_attention_layer/attention_output", context),
        )
        hidden = self._dense(
            i, "feedforward_intermediate_dense", tf.cast(x, self._dtype)
        )
        return self._add(
            i,
            "feedforward_layer_norm",
            x,
            self._dense(i, "feedforward_output_dense", activation(hidden)),
        )

    def _dense(self, i: int, name: str, x: tf.Tensor) -> tf.Tensor:
        weights = self._layers[i]
        kernel = self._copies.get(i, weights)[f"{name}/kernel"]
        size = x.shape[-1]
        kernel = tf.reshape(kernel, [size, -1])
        bias = tf.reshape(weights[f"{name}/bias"], [-1])
        return tf.nn.bias_add(tf.matmul(x, kernel), tf.cast(bias, self._dtype))

    def _add(self, i: int, norm: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        weights = self._layers[i]
        return self._normalise(
            x + tf.cast(y, tf.float32),
            weights[f"{norm}/gamma"],
            weights[f"{norm}/beta"],
        )

    def _normalise(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tf.Tensor:
        x -= tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
        return x * tf.math.rsqrt(variance + self._epsilon) * gamma + beta

    def _compare(self) -> tf.Tensor:
        moved = []
        for i, copies in self._copies.items():
            for name, copy in copies.items():
                size = copy.shape[-1]
                ours, theirs = (
                    tf.reshape(kernel, [-1, size])[::_ROW_STEP, ::_COLUMN_STEP]
                    for kernel in (copy, self._layers[i][name])
                )
                theirs = tf.cast(theirs, self._dtype)
                moved.append(tf.reduce_any(ours != theirs))
        return tf.reduce_any(moved)


class _Attention(NamedTuple):
    """Where packed tokens stand in rows that are padded for attention."""

    shape: tf.Tensor  # num_rows, length
    places: tf.Tensor  # of each token in the padded rows, flattened
    sources: tf.Tensor  # the token in each place; any one where none is
    mask: tf.Tensor  # (num_rows, 1, 1, length), added to attention's logits

    @classmethod
    def over(cls, tokens: PackedTokens, dtype: tf.DType) -> "_Attention":
        num_rows = tf.size(tokens.lengths)
        length = tf.reduce_max(tf.concat([tokens.lengths, [1]], 0))
        first = tf.cumsum(tokens.lengths, exclusive=True)
        column = tf.range(length)
        last = tf.maximum(tf.size(tokens.token_ids) - 1, 0)
        sources = tf.minimum(first[:, None] + column, last)
        is_padding = column >= tokens.lengths[:, None]
        # Half of the least number: no sum with it overflows.
        mask = tf.where(is_padding, dtype.min / 2, 0.0)[:, None, None, :]
        return cls(
            tf.stack([num_rows, length]),
            tokens.rows * length + tokens.positions,
            tf.reshape(sources, [-1]),
            tf.cast(mask, dtype),
        )

    def spread(self, x: tf.Tensor, heads: list[int]) -> tf.Tensor:
        """`(num_tokens, hidden_dim)` to `(num_rows, heads, length, size)`."""
        x = tf.gather(x, self.sources)
        x = tf.reshape(x, tf.concat([self.shape, heads], 0))
        return tf.transpose(x, [0, 2, 1, 3])

    def gather(self, x: tf.Tensor, hidden_dim: int) -> tf.Tensor:
        """The way back from `spread`."""
        x = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, hidden_dim])
        return tf.gather(x, self.places)


def _named_weights(layer: Any) -> dict[str, tf.Variable]:
    """Weights by their path in the layer, such as `.../query/kernel`."""
    return {w.path.split(f"{layer.name}/")[-1]: w.value for w in layer.weights}


def _looked_up(embedding: Any, ids: tf.Tensor) -> tf.Tensor:
    (table,) = embedding.weights
    return tf.cast(tf.gather(table.value, ids), tf.float32)
