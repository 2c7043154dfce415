"""Presets: a folder with everything a `RealmQA` is made of.

config.json                    Keras configurations of the parts
query_embedder.weights.h5      float32
block_embedder.weights.h5      only if it has weights of its own
reader.weights.h5
vocabulary.txt
manifest.json                  sizes, hashes, fingerprints
corpus/, index/                optional, described by themselves
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import keras

from realm_tf import _manifest
from realm_tf.data.featurizers import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

KIND = "preset"
CONFIG_NAME = "config.json"
VOCABULARY_NAME = "vocabulary.txt"
_LAYERS = {
    "query_embedder": Embedder,
    "block_embedder": Embedder,
    "reader": SpanReader,
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a preset holds.

    Args:
        featurizer: `Featurizer`.
        query_embedder: `Embedder` of questions.
        block_embedder: `Embedder` of blocks; the same object if shared.
        reader: `SpanReader`.
        options: JSON values of `RealmQA`, such as `num_read`.
    """

    featurizer: Featurizer
    query_embedder: Embedder
    block_embedder: Embedder
    reader: SpanReader
    options: dict[str, Any]


def write_preset(folder: pathlib.Path, parts: Parts) -> None:
    """Writes the files of a preset into an existing folder."""
    words = parts.featurizer.vocabulary
    (folder / VOCABULARY_NAME).write_text(
        "\n".join(words) + "\n", encoding="utf-8"
    )
    config: dict[str, Any] = {
        "featurizer": parts.featurizer.get_config(),
        "options": parts.options,
    }
    for name in _LAYERS:
        layer = getattr(parts, name)
        if name == "block_embedder" and layer is parts.query_embedder:
            continue
        config[name] = keras.saving.serialize_keras_object(layer)
        _as_model(layer).save_weights(folder / f"{name}.weights.h5")
    text = json.dumps(config, indent=1, sort_keys=True)
    (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def read_preset(
    path: str | os.PathLike[str],
    *,
    dtype: Any = None,
    dropout: float | None = None,
    verify: bool = True,
) -> Parts:
    """Reads a preset.

    Args:
        path: the folder.
        dtype: dtype policy of the trunks; defaults to Keras' global policy.
            Weights are float32 in any case.
        dropout: rate in training; defaults to the one that was saved.
        verify: compare the SHA-256 of every file.

    Raises:
        FolderError: if the folder is damaged or no preset.
    """
    path = pathlib.Path(path)
    _manifest.read_manifest(path, KIND, verify=verify)
    config = json.loads((path / CONFIG_NAME).read_text(encoding="utf-8"))
    featurizer = Featurizer.from_file(
        path / VOCABULARY_NAME, **config["featurizer"]
    )
    layers = {
        name: _read_layer(path, name, config[name], dtype, dropout)
        for name in _LAYERS
        if name in config
    }
    layers.setdefault("block_embedder", layers["query_embedder"])
    return Parts(featurizer=featurizer, options=config["options"], **layers)


def _read_layer(
    path: pathlib.Path,
    name: str,
    config: dict[str, Any],
    dtype: Any,
    dropout: float | None,
) -> Any:
    expected = f"realm_tf>{_LAYERS[name].__name__}"
    if config.get("registered_name") != expected:
        raise _manifest.FolderError(
            f"{name!r} of {path / CONFIG_NAME} must be a {expected}. "
            f"Received: {config.get('registered_name')!r}. Take the preset "
            "from a source you trust."
        )
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    _set_trunk(config, policy, dropout)
    # Only classes of Keras, keras-hub and realm_tf: no code in the preset.
    layer = keras.saving.deserialize_keras_object(config, safe_mode=True)
    build(layer)
    _as_model(layer).load_weights(path / f"{name}.weights.h5")
    return layer


def _set_trunk(
    config: dict[str, Any], policy: Any, dropout: float | None
) -> None:
    serialized = keras.saving.serialize_keras_object(policy)
    backbone = config["config"]["backbone"]["config"]
    config["config"]["dtype"] = backbone["dtype"] = serialized
    if dropout is not None:
        backbone["dropout"] = dropout


def build(layer: Any) -> None:
    """Creates the weights of an `Embedder` or a `SpanReader`."""
    if not layer.built:
        arguments = [None, None] if isinstance(layer, SpanReader) else [None]
        layer.build(*arguments)


def copy_layer(layer: Any) -> Any:
    """A layer of the same class, configuration and weights."""
    copy = type(layer).from_config(layer.get_config())
    build(copy)
    copy.set_weights(layer.get_weights())
    return copy


def _as_model(layer: keras.layers.Layer) -> keras.Model:
    # Layers alone cannot save weights.
    return keras.Sequential([layer])
