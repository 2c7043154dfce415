"""Weights that no model can compute with."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from realm_tf.errors import CheckpointError

LARGEST = 65_504.0
"""Of float16, in which models may compute; trained weights are below 100."""


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


def check_layer(layer: Any, source: str | os.PathLike[str]) -> None:
    """`check_weights` of a layer or model."""
    check_weights(((v.path, v.numpy()) for v in layer.weights), source)
