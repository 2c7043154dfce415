"""InProcessBackend: the exported models, run by this process."""

import copy
import dataclasses
import os
from typing import Any

import tensorflow as tf

from realm_tf._manifest import OpenFolder, open_folder
from realm_tf.data.text import tensorflow_text as text_ops  # noqa: F401  registers operations
from realm_tf.errors import BackendError
from realm_tf.serving.backends.backend import MODELS, Backend, Outputs
from realm_tf.serving.bundle import Bundle, read_bundle
from realm_tf.serving.export.saved_model import KIND


@dataclasses.dataclass(frozen=True)
class _Model:
    version: int
    loaded: Any
    signatures: dict[str, Any]


class InProcessBackend(Backend):
    """Loads the SavedModels of a bundle; needs no server.

    Args:
        folder: the bundle.

    Raises:
        FolderError: if it is no bundle, or a model in it is damaged.
        OSError: if a model cannot be loaded.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._models = _load_all(read_bundle(folder), {})

    @property
    def num_parallel(self) -> int:
        return 1  # TensorFlow spreads one call over all processors

    def of_export(self, bundle: Bundle) -> "InProcessBackend":
        other = copy.copy(self)
        other._models = _load_all(bundle, self._models)
        return other

    def predict(
        self, model: str, signature: str, inputs: dict[str, Any]
    ) -> tuple[Outputs, int]:
        chosen = self._models.get(model)
        if chosen is None or signature not in chosen.signatures:
            raise BackendError(
                f"The bundle must hold `{model}` with the signature "
                f"`{signature}`. Received: {sorted(self._models)}. Export it "
                "again with all models."
            )
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        try:
            outputs = chosen.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            raise BackendError(
                f"`{model}` failed: {error.message:.300}."
            ) from error
        return {k: v.numpy() for k, v in outputs.items()}, chosen.version


def _load_all(bundle: Bundle, known: dict[str, _Model]) -> dict[str, _Model]:
    """The models of a bundle; those that did not change are the known ones."""
    models, folders = {}, {}
    for name, version in bundle.models.items():
        if name in known and known[name].version == version:
            models[name] = known[name]
        elif name in MODELS:
            # TensorFlow reads weights with a flipped bit without a word.
            folders[name] = open_folder(bundle.model_path(name), KIND)
    for name, folder in folders.items():
        models[name] = _load(folder, bundle.models[name])
    return models


def _load(folder: OpenFolder, version: int) -> _Model:
    loaded = tf.saved_model.load(str(folder.path))
    folder.check_in_place()  # TensorFlow has read the files by name
    return _Model(version, loaded, dict(loaded.signatures))
