"""PackedBackbone: a BERT backbone over tokens without padding."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import keras_hub
import tensorflow as tf

# Every change of weights that training makes moves every part of a kernel, so
# a few of its rows tell whether copies are still true.
_ROW_STEP = 97


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

    Args:
        backbone: `keras_hub.models.BertBackbone`.
        copy_kernels: in half precision, convert the kernels once and not in
            every call; see `refresh`. Not for training.
    """

    def __init__(
        self,
        backbone: keras_hub.models.BertBackbone,
        *,
        copy_kernels: bool = True,
    ):
        super().__init__()
        self._backbone = backbone
        self._dtype = tf.as_dtype(backbone.transformer_layers[0].compute_dtype)
        self._hidden_dim = backbone.hidden_dim
        self._num_heads = backbone.num_heads
        self._epsilon = backbone.embeddings_layer_norm.epsilon
        self._layers = [
            _named_weights(layer) for layer in backbone.transformer_layers
        ]
        self._copies: list[dict[str, tf.Variable]] = []
        if copy_kernels and self._dtype != tf.float32:
            self._copies = [
                {
                    name: tf.Variable(
                        tf.cast(value, self._dtype), trainable=False
                    )
                    for name, value in weights.items()
                    if name.endswith("kernel")
                }
                for weights in self._layers
            ]
            self._has_moved = tf.function(self._compare, autograph=False)

    def refresh(self) -> None:
        """Copies the kernels, if the kernels of the backbone have changed."""
        if self._copies and bool(self._has_moved()):
            for weights, copies in zip(self._layers, self._copies, strict=True):
                for name, copy in copies.items():
                    copy.assign(tf.cast(weights[name], self._dtype))

    def padded(
        self, features: dict[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """What a `BertBackbone` returns, with states of 0 for padding."""
        # Keras tries a model with floats, to build it under a strategy.
        features = {n: tf.cast(x, tf.int32) for n, x in features.items()}
        tokens = PackedTokens.of(features)
        states = self(tokens, training)
        first = tf.cumsum(tokens.lengths, exclusive=True)
        pooled = self._backbone.pooled_dense(tf.gather(states, first))
        shape = tf.shape(features["token_ids"])
        padding = _Padding.of(tokens, shape[1])
        padded = padding.zeroed(padding.pad(states))
        padded = tf.reshape(padded, [shape[0], shape[1], self._hidden_dim])
        return {"sequence_output": padded, "pooled_output": pooled}

    def __call__(
        self, tokens: PackedTokens, training: bool | None = None
    ) -> tf.Tensor:
        """Float32 states `(num_tokens, hidden_dim)`.

        In training with dropout, one layer of `backbone` drops for all, so
        that its seed alone decides.
        """
        backbone = self._backbone
        # Positions are no look-ups by position in BERT, but a slice: that
        # matters to `BertAdamW`.
        longest = tf.reduce_max(tf.concat([tokens.lengths, [1]], 0))
        positions = _table(backbone.position_embedding)[:longest]
        x = tf.add_n(
            [
                tf.gather(_table(backbone.token_embedding), tokens.token_ids),
                tf.gather(positions, tokens.positions),
                tf.gather(
                    _table(backbone.segment_embedding), tokens.segment_ids
                ),
            ]
        )
        norm = backbone.embeddings_layer_norm
        x = self._normalise(
            tf.cast(x, tf.float32), norm.gamma.value, norm.beta.value
        )
        drop = functools.partial(
            _dropped, backbone.embeddings_dropout, training
        )
        x = drop(x)
        attention = _Attention(tokens, longest, self._dtype)
        for i, layer in enumerate(backbone.transformer_layers):
            x = self._transform(i, layer.activation, x, attention, drop)
        return x

    def _transform(
        self,
        i: int,
        activation: Any,
        x: tf.Tensor,
        attention: "_Attention",
        drop: Callable[[tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        heads = [self._num_heads, self._hidden_dim // self._num_heads]
        narrow = tf.cast(x, self._dtype)
        query, key, value = (
            attention.spread(
                self._dense(i, f"self_attention_layer/{name}", narrow), heads
            )
            for name in ("query", "key", "value")
        )
        logits = tf.matmul(query, key, transpose_b=True)
        logits *= tf.cast(heads[1] ** -0.5, self._dtype)
        context = tf.matmul(drop(tf.nn.softmax(logits + attention.mask)), value)
        context = attention.gather(context, self._hidden_dim)
        attended = self._dense(
            i, "self_attention_layer/attention_output", context
        )
        x = self._add(i, "self_attention_layer_norm", x, drop(attended))
        narrow = tf.cast(x, self._dtype)
        hidden = self._dense(i, "feedforward_intermediate_dense", narrow)
        hidden = self._dense(i, "feedforward_output_dense", activation(hidden))
        return self._add(i, "feedforward_layer_norm", x, drop(hidden))

    def _dense(self, i: int, name: str, x: tf.Tensor) -> tf.Tensor:
        weights = self._layers[i]
        kernels = self._copies[i] if self._copies else weights
        kernel = tf.reshape(kernels[f"{name}/kernel"], [x.shape[-1], -1])
        bias = tf.reshape(weights[f"{name}/bias"], [-1])
        kernel, bias = (tf.cast(w, self._dtype) for w in (kernel, bias))
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)

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
        for weights, copies in zip(self._layers, self._copies, strict=True):
            for name, copy in copies.items():
                ours, theirs = (
                    tf.reshape(kernel, [-1, copy.shape[-1]])[::_ROW_STEP]
                    for kernel in (copy, weights[name])
                )
                theirs = tf.cast(theirs, self._dtype)
                moved.append(tf.reduce_any(ours != theirs))
        return tf.reduce_any(moved)


class _Padding(NamedTuple):
    """Where packed tokens stand among rows that are padded.

    Args:
        places: int32 `(num_tokens,)`, of each token in the rows, flattened.
        sources: int32 `(num_rows * length,)`, the token in each place; any
            one where none is.
        is_token: bool `(num_rows * length, 1)`.
    """

    places: tf.Tensor
    sources: tf.Tensor
    is_token: tf.Tensor

    @classmethod
    def of(cls, tokens: PackedTokens, length: tf.Tensor) -> "_Padding":
        first = tf.cumsum(tokens.lengths, exclusive=True)
        column = tf.range(length)
        last = tf.maximum(tf.size(tokens.token_ids) - 1, 0)
        return cls(
            tokens.rows * length + tokens.positions,
            tf.reshape(tf.minimum(first[:, None] + column, last), [-1]),
            tf.reshape(column < tokens.lengths[:, None], [-1, 1]),
        )

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """`(num_tokens, size)` to `(num_rows * length, size)`.

        Nothing may depend on what then stands in the padding.
        """
        return _gathered(
            x, self.sources, lambda upstream: tf.gather(upstream, self.places)
        )

    def pack(self, x: tf.Tensor) -> tf.Tensor:
        """The way back from `pad`."""
        return _gathered(
            x,
            self.places,
            lambda upstream: self.zeroed(tf.gather(upstream, self.sources)),
        )

    def zeroed(self, x: tf.Tensor) -> tf.Tensor:
        """`(num_rows * length, size)`, with 0 in the padding."""
        return tf.where(self.is_token, x, tf.zeros([], x.dtype))


def _gathered(
    x: tf.Tensor,
    indices: tf.Tensor,
    gradient: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """`tf.gather`, whose own gradient is a slow sum over indices."""
    gather = tf.custom_gradient(lambda x: (tf.gather(x, indices), gradient))
    return gather(x)


class _Attention:
    """Queries, keys and values of rows that are padded for attention.

    Args:
        tokens: `PackedTokens`.
        length: of the longest row.
        dtype: of the computation.
    """

    def __init__(
        self, tokens: PackedTokens, length: tf.Tensor, dtype: tf.DType
    ):
        self._padding = _Padding.of(tokens, length)
        self._shape = tf.stack([tf.size(tokens.lengths), length])
        is_padding = tf.range(length) >= tokens.lengths[:, None]
        # Half of the least number: no sum with it overflows.
        mask = tf.where(is_padding, dtype.min / 2, 0.0)[:, None, None, :]
        # (num_rows, 1, 1, length), added to the logits
        self.mask = tf.cast(mask, dtype)

    def spread(self, x: tf.Tensor, heads: list[int]) -> tf.Tensor:
        """`(num_tokens, hidden_dim)` to `(num_rows, heads, length, size)`."""
        x = self._padding.pad(x)
        x = tf.reshape(x, tf.concat([self._shape, heads], 0))
        return tf.transpose(x, [0, 2, 1, 3])

    def gather(self, x: tf.Tensor, hidden_dim: int) -> tf.Tensor:
        """The way back from `spread`."""
        x = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, hidden_dim])
        return self._padding.pack(x)


def _named_weights(layer: Any) -> dict[str, tf.Variable]:
    """Weights by their path in the layer, such as `.../query/kernel`."""
    return {w.path.split(f"{layer.name}/")[-1]: w.value for w in layer.weights}


def _dropped(
    dropout: keras.layers.Dropout, training: bool | None, x: tf.Tensor
) -> tf.Tensor:
    if not training or not dropout.rate:
        return x
    return tf.cast(dropout(x, training=True), x.dtype)


def _table(embedding: Any) -> tf.Variable:
    (table,) = embedding.weights
    return table.value
