"""Arrays of a TensorFlow checkpoint, TF1 or TF2."""

import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from realm_tf.checkpoints.files.tensor_file import TensorFile

# TensorFlow's reader translates its own errors into those of Python.
_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, LookupError)
_FOOTER_BYTES = 48
_TABLE_MAGIC = 0xDB4775248B80FB57
_BLOCK_TRAILER_BYTES = 5  # compression and checksum


class TFCheckpoint(TensorFile):
    """Arrays of a TensorFlow checkpoint.

    TensorFlow reads (and checks) whole arrays only; rows of a large one are
    mapped into memory here, from the place that the index file tells.

    Args:
        prefix: path of the checkpoint without `.index`.

    Raises:
        CheckpointError: if it is damaged or missing.
    """

    def __init__(self, prefix: str | os.PathLike[str]):
        super().__init__(prefix)
        try:
            self._reader: Any = tf.train.load_checkpoint(os.fspath(prefix))
            self.shapes = {
                name: tuple(shape)
                for name, shape in (
                    self._reader.get_variable_to_shape_map().items()
                )
            }
        except _ERRORS as error:
            raise self.damaged(_short(error)) from error

    def read(self, name: str) -> np.ndarray:
        try:
            return self._reader.get_tensor(name)
        except _ERRORS as error:
            raise self.damaged(f"{name}: {_short(error)}") from error

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return np.array(self._mapped(name)[start:stop])

    def _mapped(self, name: str) -> np.ndarray:
        entries = dict(self._entries())
        header = tensor_bundle_pb2.BundleHeaderProto.FromString(entries[""])
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(entries[name])
        shape = tuple(dim.size for dim in entry.shape.dim)
        dtype = np.dtype(tf.dtypes.as_dtype(entry.dtype).as_numpy_dtype)
        if entry.slices:
            return self.read(name)
        shard = pathlib.Path(
            f"{self.path}.data-{entry.shard_id:05}-of-{header.num_shards:05}"
        )
        size = shard.stat().st_size if shard.is_file() else 0
        if entry.offset + entry.size > size:
            raise self.damaged(
                f"{shard.name} of {size} bytes, where {name} ends at byte "
                f"{entry.offset + entry.size}"
            )
        return np.memmap(shard, dtype, "r", entry.offset, shape)

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        """Keys and values of the index file, a LevelDB table."""
        data = pathlib.Path(f"{self.path}.index").read_bytes()
        footer = data[-_FOOTER_BYTES:]
        if struct.unpack("<Q", footer[-8:])[0] != _TABLE_MAGIC:
            raise self.damaged("an index file that is none")
        _, at = _varint(footer, 0)  # of the meta index: place and size
        _, at = _varint(footer, at)
        for _, handle in self._block(data, footer, at):
            for key, value in self._block(data, handle, 0):
                yield key.decode(), value

    def _block(
        self, data: bytes, handle: bytes, at: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of the block that a handle tells the place of."""
        start, at = _varint(handle, at)
        size, _ = _varint(handle, at)
        block = data[start : start + size + _BLOCK_TRAILER_BYTES]
        if len(block) < size + _BLOCK_TRAILER_BYTES or block[size] != 0:
            raise self.damaged("an index file that is cut off or compressed")
        (num_restarts,) = struct.unpack("<I", block[size - 4 : size])
        end = size - 4 - 4 * num_restarts
        key, at = b"", 0
        while at < end:
            shared, at = _varint(block, at)
            own, at = _varint(block, at)
            length, at = _varint(block, at)
            key = key[:shared] + block[at : at + own]
            yield key, block[at + own : at + own + length]
            at += own + length


def is_tf_checkpoint(prefix: str | os.PathLike[str]) -> bool:
    """Whether there is a checkpoint of this name."""
    return os.path.isfile(f"{os.fspath(prefix)}.index")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next one begins."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:300]
