"""Weights of the parts of a preset, in safetensors.

query_embedder.safetensors     name of a weight, as Keras' own files have it ->
reader.safetensors ...         array; or int8 array, and "NAME.scale"

An array that an earlier part has, too, such as a table of word embeddings that
was not trained, is written once: "same_as" in the metadata says where it is.
"""

import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from realm_tf._constants import WEIGHT_STORAGES
from realm_tf.checkpoints.files.safetensors_file import (
    SafetensorsFile,
    write_safetensors,
)

_SAME_AS = "same_as"
_SCALE = ".scale"
_MIN_SIZE = 4096  # smaller arrays are stored in float32
_LARGEST = 127
_MANTISSA_BITS = 16
_Floats = npt.NDArray[np.float32]


def check_storage(storage: str) -> None:
    """Raises `ValueError` unless weights can be stored so."""
    if storage not in WEIGHT_STORAGES:
        raise ValueError(
            f"`storage` must be one of {WEIGHT_STORAGES}. Received: "
            f"storage={storage!r}."
        )


def write_layers(
    folder: pathlib.Path, layers: Mapping[str, Any], storage: str
) -> None:
    """Writes one file for each part.

    Args:
        folder: where to.
        layers: names of parts and built layers.
        storage: "float32", or "int8", which rounds.
    """
    places: dict[tuple[Any, ...], tuple[str, str]] = {}
    for part, layer in layers.items():
        tensors: dict[str, npt.NDArray[Any]] = {}
        same: dict[str, tuple[str, str]] = {}
        for name, array in _arrays(layer):
            key = (array.shape, hashlib.sha256(array.tobytes()).digest())
            if key in places and array.size >= _MIN_SIZE:
                same[name] = places[key]
                continue
            places[key] = part, name
            if storage == "int8" and _is_rounded(array):
                tensors[name], tensors[name + _SCALE] = _pack(name, array)
            else:
                tensors[name] = array
        metadata = {_SAME_AS: json.dumps(same, sort_keys=True)}
        write_safetensors(folder / file_name(part), tensors, metadata)


def read_layer(folder: pathlib.Path, part: str, layer: Any) -> None:
    """Fills a built layer with the weights that were written for it.

    Raises:
        CheckpointError: if a file is damaged.
        ValueError: if the weights are not those of the layer.
    """
    file = SafetensorsFile(folder / file_name(part))
    names = [name for name in file.shapes if not name.endswith(_SCALE)]
    same = _same_as(file)
    if len(names) + len(same) > len(layer.weights):
        raise file.damaged(f"more than the {len(layer.weights)} weights")
    others = {
        other: SafetensorsFile(folder / file_name(other))
        for other in {other for other, _ in same.values()}
    }
    with tempfile.TemporaryDirectory(prefix="realm_tf-") as temporary:
        path = pathlib.Path(temporary) / "layer.weights.h5"
        with h5py.File(path, "w") as weights:
            for name in names:
                weights[name] = _unpack(file, name)
            for name, (other, there) in same.items():
                weights[name] = _unpack(others[other], there)
        as_model(layer).load_weights(path)


def round_layer(layer: Any) -> None:
    """Gives a layer the weights that int8 would store of it."""
    with tempfile.TemporaryDirectory(prefix="realm_tf-") as temporary:
        folder = pathlib.Path(temporary)
        write_layers(folder, {"layer": layer}, "int8")
        read_layer(folder, "layer", layer)


def file_name(part: str) -> str:
    """Name of the file of a part."""
    return f"{part}.safetensors"


def as_model(layer: keras.layers.Layer) -> keras.Model:
    """A model around a layer, which alone cannot save weights."""
    model = keras.Sequential([layer])
    model.built = True  # it has no inputs that would tell
    return model


def _arrays(layer: Any) -> Iterator[tuple[str, _Floats]]:
    """Weights of a layer by the names that Keras' files give them."""
    with tempfile.TemporaryDirectory(prefix="realm_tf-") as temporary:
        path = pathlib.Path(temporary) / "layer.weights.h5"
        as_model(layer).save_weights(path)
        names: list[str] = []
        with h5py.File(path) as weights:
            weights.visit(names.append)
            for name in names:
                if isinstance(weights[name], h5py.Dataset):
                    yield name, np.ascontiguousarray(weights[name])


def _same_as(file: SafetensorsFile) -> dict[str, tuple[str, str]]:
    """Name of a weight -> part and name where it is written."""
    try:
        found = json.loads(file.metadata.get(_SAME_AS, "{}"))
        same = {name: (part, there) for name, (part, there) in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise file.damaged(error) from error
    for part, _ in same.values():
        if not str(part).isidentifier():  # a path leads out of the folder
            raise file.damaged(f"a part named {part!r}")
    return same


def _is_rounded(array: _Floats) -> bool:
    return array.ndim > 1 and array.size >= _MIN_SIZE


def _pack(name: str, array: _Floats) -> tuple[npt.NDArray[np.int8], _Floats]:
    """An array as int8 and the scales of its channels.

    A channel is a column of what a kernel makes, or a row of a table. Scales
    have 16 bits, so that 127 of them are a float, and rounded weights are
    rounded to themselves.
    """
    matrix = array.reshape(_matrix_shape(array.shape))
    largest = np.abs(matrix).max(axis=_axis(name), keepdims=True) / _LARGEST
    mantissa, exponent = np.frexp(largest)
    mantissa = np.rint(np.ldexp(mantissa, _MANTISSA_BITS))
    scale = np.ldexp(mantissa, exponent - _MANTISSA_BITS).astype(np.float32)
    safe = np.where(scale > 0, scale, 1)
    packed = np.rint(matrix / safe).astype(np.int8)
    return packed.reshape(array.shape), scale.ravel()


def _unpack(file: SafetensorsFile, name: str) -> _Floats:
    array = file.read(name)
    if array.dtype != np.int8:
        return array
    matrix = array.reshape(_matrix_shape(array.shape)).astype(np.float32)
    scale = np.expand_dims(file.read(name + _SCALE), _axis(name))
    return (matrix * scale).reshape(array.shape)


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of a kernel; heads belong to one of the two."""
    if shape[-1] >= shape[0]:
        return int(np.prod(shape[:-1])), shape[-1]
    return shape[0], int(np.prod(shape[1:]))


def _axis(name: str) -> int:
    """Axis over which a channel extends."""
    return 1 if "embedding" in name else 0
