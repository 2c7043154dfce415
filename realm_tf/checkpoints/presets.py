"""Presets: a folder with everything a `RealmQA` is made of.

config.json                    settings of the parts; no class names
query_embedder.safetensors     see `weight_files`
block_embedder.safetensors     only if it has weights of its own
reader.safetensors
encoder.safetensors            only of a model that predicts masked words
vocabulary.txt
manifest.json                  sizes, hashes, fingerprints
corpus/, index/                optional, described by themselves
"""

import dataclasses
import inspect
import json
import os
import pathlib
from typing import Any

import keras
import keras_hub

from realm_tf import _manifest
from realm_tf._files import copy_folder
from realm_tf._replacement import read_whole
from realm_tf.checkpoints.weight_check import check_layer, check_size
from realm_tf.checkpoints.weight_files import (
    as_model,
    read_layer,
    write_layers,
)
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.span_reader import SpanReader
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.journal import Journal

KIND = "preset"
CONFIG_NAME = "config.json"
VOCABULARY_NAME = "vocabulary.txt"
CORPUS_NAME = "corpus"
INDEX_NAME = "index"
_LAYERS = {
    "query_embedder": Embedder,
    "block_embedder": Embedder,
    "reader": SpanReader,
    "encoder": KnowledgeAugmentedEncoder,
}
_WEIGHT_FILES = ("*.safetensors", "*.weights.h5")
_HEAD_DIMS = ("embedding_dim", "span_hidden_dim")
_FOR_ANSWERS = ("query_embedder", "block_embedder", "reader")


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a preset holds. A part may be missing, but not all.

    Args:
        featurizer: `Featurizer`.
        query_embedder: `Embedder` of questions.
        block_embedder: `Embedder` of blocks; the same object if shared.
        reader: `SpanReader`.
        options: JSON values of `RealmQA`, such as `num_read`.
        encoder: `KnowledgeAugmentedEncoder`.
    """

    featurizer: Featurizer
    query_embedder: Any = None
    block_embedder: Any = None
    reader: Any = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    encoder: Any = None

    @property
    def layers(self) -> dict[str, Any]:
        """The parts that are there, a shared one once."""
        found = {name: getattr(self, name) for name in _LAYERS}
        if self.block_embedder is self.query_embedder:
            del found["block_embedder"]
        return {name: part for name, part in found.items() if part is not None}

    @property
    def calibration(self) -> Calibration:
        """Of the answers; see `Calibration`."""
        return Calibration.of(self.options.get("calibration"))

    def check_answers(self, source: object) -> None:
        """Checks that there is all that answering questions takes.

        Raises:
            ValueError: naming what is missing.
        """
        missing = [n for n in _FOR_ANSWERS if getattr(self, n) is None]
        if missing:
            raise ValueError(
                "A model that answers must have embedders and a reader. "
                f"Received: {source} with {', '.join(self.layers)}, without "
                f"{', '.join(missing)}. Import it together with a checkpoint "
                "that has them, or train them."
            )


def save(
    path: str | os.PathLike[str],
    parts: Parts,
    index: BlockIndex | None,
    *,
    embedder_fingerprint: str,
    overwrite: bool,
    storage: str = "float32",
) -> None:
    """Writes a preset, whole or not at all.

    Args:
        path: the new folder.
        parts: `Parts`.
        index: goes into it together with its corpus.
        embedder_fingerprint: of the block embedder.
        overwrite: replace what is there.
        storage: of the weights, see `write_layers`.
    """
    with _manifest.write_folder(path, KIND, overwrite=overwrite) as writer:
        write_preset(writer.path, parts, storage)
        if index is not None:
            write_index(writer.path, index)
        writer.describe(
            fingerprints={
                "tokenizer": parts.featurizer.fingerprint,
                "embedder": embedder_fingerprint,
            }
        )


def write_preset(
    folder: pathlib.Path, parts: Parts, storage: str = "float32"
) -> None:
    """Writes the files of a preset into an existing folder."""
    words = parts.featurizer.vocabulary
    (folder / VOCABULARY_NAME).write_text(
        "\n".join(words) + "\n", encoding="utf-8"
    )
    config: dict[str, Any] = {
        "featurizer": parts.featurizer.get_config(),
        "options": parts.options,
    }
    for name, layer in parts.layers.items():
        config[name] = _settings(layer)
    write_layers(folder, parts.layers, storage)
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
        dtype: dtype policy of the backbones; defaults to Keras' global policy.
            Weights are float32 in any case.
        dropout: rate in training; defaults to the one that was saved.
        verify: compare the SHA-256 of every file.

    Raises:
        FolderError: if the folder is damaged or no preset.
    """
    path = pathlib.Path(path)
    return read_whole(path, lambda: _read_parts(path, dtype, dropout, verify))


def _read_parts(
    path: pathlib.Path, dtype: Any, dropout: float | None, verify: bool
) -> Parts:
    folder = _manifest.open_folder(path, KIND, verify=verify)
    file = path / CONFIG_NAME
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        featurizer = Featurizer.from_file(
            path / VOCABULARY_NAME, **config["featurizer"]
        )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        layers = {
            name: _read_layer(path, name, config[name], policy, dropout)
            for name in _LAYERS
            if name in config
        }
        if "query_embedder" in layers:
            layers.setdefault("block_embedder", layers["query_embedder"])
        options = dict(config["options"])
        Calibration.of(options.get("calibration"))  # checks it
        folder.check_in_place()  # Keras has read the weights by name
        return Parts(featurizer=featurizer, options=options, **layers)
    except FolderError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError(
            f"{file} must hold the settings of a preset, which its weights "
            f"fit. Received: {type(error).__name__}: {error}. Save the preset "
            "again, or take it from a source you trust."
        ) from error


def write_index(folder: pathlib.Path, index: BlockIndex) -> None:
    """Copies an index version, its updates and its corpus into a preset.

    Raises:
        FolderError: if one of the two was damaged or replaced on the disk.
    """
    _copy(index.corpus, index.corpus.path, folder / CORPUS_NAME)
    target = folder / INDEX_NAME
    _copy(index, index.folder, target / index.folder.name)
    Journal.create(
        index_versions.updates_file(target, index.version),
        index.fingerprint,
        index_versions.read_updates(
            index.path, index.version, index.fingerprint
        ),
    )


def _copy(
    opened: Corpus | BlockIndex, source: pathlib.Path, target: pathlib.Path
) -> None:
    """Copies the folder of what is open, unless it is another one now."""
    copy_folder(source, target)
    kind = opened.manifest.kind
    copied = _manifest.read_manifest(target, kind)
    if copied.fingerprint != opened.fingerprint:
        raise FolderError(
            f"{source} must be the {kind} that is open. Received: "
            f"fingerprint={copied.fingerprint[:16]}, expected "
            f"{opened.fingerprint[:16]}. Open it again."
        )


def has_index(folder: pathlib.Path) -> bool:
    """Whether a preset has a corpus and an index, and so can answer."""
    names = (CORPUS_NAME, INDEX_NAME)
    return all((folder / name).is_dir() for name in names)


def check_outside(corpus: pathlib.Path, preset: str | os.PathLike[str]) -> None:
    """Checks that a preset to be replaced does not hold a corpus in use.

    Raises:
        FolderError: if it does.
    """
    if corpus.resolve().is_relative_to(pathlib.Path(preset).resolve()):
        raise FolderError(
            "A preset must not replace the one that holds the corpus in use, "
            f"unless it takes it over. Received: {preset}, corpus {corpus}. "
            "Pass `include_corpus=True`, or save to another path."
        )


def _settings(layer: Any) -> dict[str, Any]:
    """Arguments of a part, its backbone's among them.

    There is no class name among them, so reading them runs no code of others.
    """
    settings = {**layer.get_config(), "backbone": layer.backbone.get_config()}
    # The reader chooses.
    del settings["dtype"], settings["backbone"]["dtype"]
    _check_settings(type(layer), settings)
    return settings


def _check_settings(layer_class: Any, settings: dict[str, Any]) -> None:
    """Only plain values of arguments that are listed.

    Keras makes objects of others, such as `activity_regularizer`.
    """
    for part_class, part in (
        (layer_class, settings),
        (keras_hub.models.BertBackbone, settings["backbone"]),
    ):
        listed = {
            "name",
            "trainable",
            *inspect.signature(part_class.__init__).parameters,
        } - {"dtype"}
        for name, value in dict(part).items():
            is_plain = not isinstance(value, dict | list)
            if name not in listed or not (is_plain or name == "backbone"):
                raise ValueError(
                    f"A preset holds plain settings of {part_class.__name__} "
                    f"only. Received: {name}={value!r:.200}. Leave it out."
                )


def _read_layer(
    path: pathlib.Path,
    name: str,
    settings: dict[str, Any],
    policy: keras.DTypePolicy,
    dropout: float | None,
) -> Any:
    _check_settings(_LAYERS[name], settings)
    _check_size(path, settings)
    config = {**settings["backbone"], "dtype": policy}
    if dropout is not None:
        config["dropout"] = dropout
        if settings.get("pooling") == "cls":  # means have none
            settings = {**settings, "dropout": dropout}
    backbone = keras_hub.models.BertBackbone(**config)
    layer = _LAYERS[name](**{**settings, "backbone": backbone})
    build(layer)
    file = path / f"{name}.weights.h5"  # of presets before 0.2
    if file.exists():
        as_model(layer).load_weights(file)
    else:
        read_layer(path, name, layer)
    check_layer(layer, f"{name} of {path}")
    return layer


def _check_size(path: pathlib.Path, settings: dict[str, Any]) -> None:
    """Before Keras makes room for what the settings say."""
    files = [f for kind in _WEIGHT_FILES for f in path.glob(kind)]
    num_bytes = sum(file.stat().st_size for file in files)
    heads = (settings.get(name, 0) for name in _HEAD_DIMS)
    sizes = {**settings["backbone"], "head_dim": max(heads)}
    # With "int8", a byte is a number.
    check_size(sizes, num_bytes, path)


def build(layer: Any) -> None:
    """Creates the weights of a part."""
    if not layer.built:
        arguments = [None] if isinstance(layer, Embedder) else [None, None]
        layer.build(*arguments)


def copy_layer(layer: Any) -> Any:
    """A layer of the same class, configuration and weights."""
    copy = type(layer).from_config(layer.get_config())
    build(copy)
    copy.set_weights(layer.get_weights())
    return copy
