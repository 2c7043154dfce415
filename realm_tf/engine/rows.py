"""Computing row by row, so that a row never depends on the others."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def each_row(
    compute: Callable[..., Any], rows: Sequence[tf.Tensor], specs: Any
) -> Any:
    """Applies a function to every row of a batch, one after the other.

    A matrix product of several rows differs in its last bits from that of
    each, so servers that join requests to batches would change answers.

    Args:
        compute: takes one row of each of `rows`.
        rows: tensors `(batch, ...)`.
        specs: `tf.TensorSpec`s of what `compute` returns.

    Returns:
        what `compute` returns, with the axis `batch` in front.
    """
    return tf.map_fn(
        lambda row: compute(*row),
        tuple(rows),
        fn_output_signature=specs,
        parallel_iterations=1,  # an operation uses all processors anyway
    )


def checked(**inputs: tuple[tf.Tensor, int]) -> list[tf.Tensor]:
    """Inputs of one request, refused unless their shapes fit together.

    A server does not compare the rank of a request with the signature, and a
    tokenizer that is given a scalar ends its process.

    Args:
        **inputs: tensor and its rank; the axes that two neighbours have in
            common must be as long.
    """
    tensors = [
        tf.ensure_shape(tensor, [None] * rank)
        for tensor, rank in inputs.values()
    ]
    asserts = []
    for (a, first), (b, second) in itertools.pairwise(
        zip(inputs, tensors, strict=True)
    ):
        rank = min(first.shape.rank, second.shape.rank)
        asserts.append(
            tf.debugging.assert_equal(
                tf.shape(first)[:rank],
                tf.shape(second)[:rank],
                f"`{a}` and `{b}` must have the same number of rows.",
            )
        )
    with tf.control_dependencies(asserts):
        return [tf.identity(tensor) for tensor in tensors]


def trimmed_length(padding_mask: tf.Tensor, bucket: int) -> tf.Tensor:
    """Wordpieces to keep of a batch, so that little padding is computed.

    The same lengths as `realm_tf.engine.text_embedder.trim`.

    Args:
        padding_mask: int `(batch, length)`.
        bucket: the length is a multiple of it, or the whole length.
    """
    used = tf.reduce_max(tf.reduce_sum(padding_mask, axis=-1))
    used = tf.maximum(used, 1)  # of no rows, the maximum is below
    length = -(-used // bucket) * bucket
    return tf.minimum(length, tf.shape(padding_mask)[-1])
