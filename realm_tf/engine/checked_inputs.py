"""Inputs of a request, compared with each other before they are used."""

import itertools

import tensorflow as tf

_AXES = ("rows", "blocks")


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
    asserts = [
        tf.debugging.assert_equal(
            tf.shape(first)[axis],
            tf.shape(second)[axis],
            f"`{a}` and `{b}` must have the same number of {of}.",
        )
        for (a, first), (b, second) in itertools.pairwise(
            zip(inputs, tensors, strict=True)
        )
        for axis, of in enumerate(_AXES)
        if axis < min(first.shape.rank, second.shape.rank)
    ]
    with tf.control_dependencies(asserts):
        return [tf.identity(tensor) for tensor in tensors]
