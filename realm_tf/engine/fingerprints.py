"""Fingerprints of embedders and readers."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader


def embedder_fingerprint(embedder: Embedder, featurizer: Featurizer) -> str:
    """SHA-256 of all that decides the embedding of a block.

    Args:
        embedder: `Embedder` of blocks.
        featurizer: `Featurizer` that cuts them.
    """
    description: list[Any] = [
        embedder.pooling,
        embedder.layer_norm_epsilon,
        embedder.backbone.num_heads,
        featurizer.fingerprint,
        featurizer.block_length,
    ]
    # What earlier versions did not have is left out where it has no effect:
    # their indexes stay valid.
    later = {
        "activation": (embedder.activation, "linear"),
        "normalize_states": (embedder.normalize_states, True),
        "embedding_norm": (embedder.embedding_norm, None),
        "block_prompt": (featurizer.block_prompt, ""),
    }
    if used := {k: v for k, (v, default) in later.items() if v != default}:
        description.append(used)
    return _fingerprint(description, embedder)


def reader_fingerprint(
    reader: SpanReader,
    featurizer: Featurizer,
    calibration: Calibration | None = None,
) -> str:
    """SHA-256 of all that decides what is read in a block.

    Args:
        reader: `SpanReader`.
        featurizer: `Featurizer` that joins question and block.
        calibration: `Calibration`. Without one, the fingerprint is that of
            versions that had none.
    """
    description: list[Any] = [
        reader.max_span_width,
        reader.layer_norm_epsilon,
        reader.backbone.num_heads,
        featurizer.fingerprint,
        featurizer.query_length,
        featurizer.joint_length,
        featurizer.joint_title,
    ]
    if calibration is not None and calibration != Calibration():
        description.append(calibration.to_json())
    return _fingerprint(description, reader)


def _fingerprint(description: list[Any], layer: keras.layers.Layer) -> str:
    digest = hashlib.sha256(json.dumps(description).encode())
    # Not `variables`: those of dropout's random numbers decide nothing.
    for variable in layer.weights:
        value = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        digest.update(json.dumps(value.shape).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
