"""Weights that no model can compute with."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from realm_tf.errors import CheckpointError

LARGEST = 65_504.0
"""Of float16, in which models may compute; trained weights are below 100."""

_ROOM = 2**22  # weights, for new heads of small models; 16 MB


def check_weights(
    weights: Iterable[tuple[str, Any]], source: str | os.PathLike[str]
) -> None:
    """Checks that weights are finite, in float16 too.

    Args:
        weights: names and arrays.
        source: where they come from, for the message.

    Raises:
        CheckpointError: naming the first array with another number in it.

    Example:
    >>> check_weights([("bias", np.array([1e5]))], "model")
    Traceback (most recent call last):
    realm_tf.errors.CheckpointError: Weights must be finite and from -65504 ...
    """
    for name, value in weights:
        array = np.asarray(value)
        if array.dtype.kind not in "fV" or not array.size:
            continue
        # NaN is its own maximum; no copy is made.
        with np.errstate(invalid="ignore"):
            largest = float(np.maximum(array.max(), -array.min()))
        if not largest <= LARGEST:
            raise CheckpointError(
                f"Weights must be finite and from -{LARGEST:.0f} to "
                f"{LARGEST:.0f}. Received: {largest:g} in {name} of {source}. "
                "Take a checkpoint whose training did not diverge."
            )


def check_floats(
    name: str, value: np.ndarray, source: str | os.PathLike[str]
) -> None:
    """Checks that an array is one of floats.

    Raises:
        CheckpointError: naming the array and its type.
    """
    # The short floats of ml_dtypes are of kind V.
    if value.dtype.kind not in "fV":
        raise CheckpointError(
            f"Weights must be floats. Received: {name} of type {value.dtype} "
            f"in {source}. Take a checkpoint that was not quantized."
        )


def check_size(
    settings: Mapping[str, Any], num_stored: int, source: str | os.PathLike[str]
) -> None:
    """Checks that a part is about as large as its weights, before it is built.

    Args:
        settings: of a `BertBackbone`; and the width of a head, if any, as
            `head_dim`.
        num_stored: numbers that are stored, at most.
        source: where they are.

    Raises:
        CheckpointError: if the part would be more than twice as large.

    Example:
    >>> sizes = dict.fromkeys(["num_segments", "num_layers"], 2)
    >>> sizes |= dict.fromkeys(["hidden_dim", "intermediate_dim"], 10**6)
    >>> sizes |= dict.fromkeys(["vocabulary_size", "max_sequence_length"], 9)
    >>> check_size(sizes, 10**9, "model")
    Traceback (most recent call last):
    realm_tf.errors.CheckpointError: A model must be as large as its weights...
    """
    width, inner = settings["hidden_dim"], settings["intermediate_dim"]
    rows = sum(
        settings[name]
        for name in ("vocabulary_size", "max_sequence_length", "num_segments")
    )
    layer = 4 * width * (width + 1) + 2 * width * inner + inner + 5 * width
    heads = width * (width + 3 + 2 * settings.get("head_dim", 0))
    size = rows * width + settings["num_layers"] * layer + heads
    if size > 2 * num_stored + _ROOM:
        raise CheckpointError(
            "A model must be as large as its weights. Received: settings of "
            f"{size:,} weights, {num_stored:,} numbers at most in {source}. "
            "Take settings and weights from one checkpoint."
        )


def check_layer(layer: Any, source: str | os.PathLike[str]) -> None:
    """`check_weights` of a layer or model."""
    check_weights(((v.path, v.numpy()) for v in layer.weights), source)
