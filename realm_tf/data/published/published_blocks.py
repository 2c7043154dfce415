"""The published blocks of Wikipedia, read one at a time.

Row i of the released embeddings belongs to record i here, so the order of the
files is kept and nothing is skipped.
"""

import abc
import gzip
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from realm_tf._files import read_npy_header
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.published.restricted_pickle import stream_pickle
from realm_tf.errors import UnsafePickleError

_BLOCKS, _TITLES, _EXAMPLES = "blocks.tfr", "titles.tfr", "examples.tfr"
_GZIP_MAGIC = gzip.compress(b"")[:2]
_SHARD = re.compile(r"-(\d+)-of-(\d+)$")
_BUFFER_BYTES = 8 * 2**20
_HEADER = struct.Struct("<Q4x")  # of a TFRecord: length and its checksum
_MAX_RECORD_BYTES = 256 * 2**20


class BlockRecord(NamedTuple):
    """One block.

    Args:
        text: of the block.
        title: of its article; "" if the source has none.
        num_tokens: wordpieces of the text, where the source tells.
        sentence_tokens: wordpiece where each sentence begins, likewise.
    """

    text: str
    title: str = ""
    num_tokens: int | None = None
    sentence_tokens: tuple[int, ...] = ()


class BlockRecords(abc.ABC):
    """Blocks in the order of their embeddings.

    Attributes:
        paths: the files.
        num_records: how many there are, where that is known beforehand.
        has_titles: whether they have titles.
    """

    has_titles = True
    num_records: int | None = None

    def __init__(self, *paths: pathlib.Path):
        self.paths = paths

    @abc.abstractmethod
    def __iter__(self) -> Iterator[BlockRecord]:
        """Reads from the start."""

    @property
    def num_bytes(self) -> int:
        """Size of the files."""
        return sum(path.stat().st_size for path in self.paths)


def open_block_records(path: str | os.PathLike[str]) -> BlockRecords:
    """Opens published blocks.

    Args:
        path: `block_records.npy` (Hugging Face); `blocks.tfr` or its folder,
            with `titles.tfr` and `examples.tfr` if they are there (ORQA); or
            a folder of the shards of REALM's retrieval corpus.

    Raises:
        ValueError: if it is none of these.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix == ".npy":
        return _ObjectArray(path)
    if path.is_dir() and (path / _BLOCKS).is_file():
        path = path / _BLOCKS
    if path.is_file():
        return _OrqaBlocks(path)
    shards = _shards(path)
    if shards:
        return _RetrievalCorpus(*shards)
    raise ValueError(
        f"Blocks must be block_records.npy, {_BLOCKS} or the shards "
        f"of a retrieval corpus. Received: {path}, which holds none of them. "
        "Check the path."
    )


class _ObjectArray(BlockRecords):
    """A NumPy array of byte strings; its pickle is never executed."""

    has_titles = False

    def __init__(self, path: pathlib.Path):
        super().__init__(path)
        with open(path, "rb") as file:
            self.num_records = self._read_header(file)

    def __iter__(self) -> Iterator[BlockRecord]:
        num_seen = 0
        with open(self.paths[0], "rb", buffering=_BUFFER_BYTES) as file:
            self._read_header(file)
            for items in stream_pickle(file, _ARRAY_CALLS, self._check):
                for item in items:
                    if not isinstance(item, bytes | str):
                        raise self._bad(f"an item of {type(item).__name__}")
                    num_seen += 1
                    yield BlockRecord(_text(item))
        if num_seen != self.num_records:
            raise self._bad(f"{num_seen} of {self.num_records} records")

    def _read_header(self, file: Any) -> int:
        try:
            shape, dtype = read_npy_header(file)
        except ValueError as error:
            raise self._bad(str(error)) from error
        if dtype != np.dtype(object) or len(shape) != 1:
            raise self._bad(f"an array of {dtype} and shape {shape}")
        return int(shape[0])

    def _check(self, value: Any) -> None:
        if not isinstance(value, _Array):
            raise self._bad(f"a pickled {type(value).__name__}")

    def _bad(self, problem: str) -> UnsafePickleError:
        return UnsafePickleError(
            f"{self.paths[0]} must be a NumPy array of byte strings. "
            f"Received: {problem}. Download it again from its publisher."
        )


class _Array:
    """Stands for the array, whose items were yielded already."""

    def set_state(self, state: Any) -> None:
        del state


class _DType:
    def set_state(self, state: Any) -> None:
        del state


_ARRAY_CALLS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.dtype": lambda *_: _DType(),
    "numpy.ndarray": "numpy.ndarray",  # named only
}


class _OrqaBlocks(BlockRecords):
    """`blocks.tfr`, with the titles and the wordpieces beside it."""

    def __init__(self, path: pathlib.Path):
        beside = [path.with_name(name) for name in (_TITLES, _EXAMPLES)]
        self._titles, self._examples = (
            file if path.name == _BLOCKS and file.is_file() else None
            for file in beside
        )
        self.has_titles = self._titles is not None
        super().__init__(
            path, *(f for f in (self._titles, self._examples) if f)
        )

    def __iter__(self) -> Iterator[BlockRecord]:
        streams = [read_tfrecords(path) for path in self.paths]
        num_read = 0
        while True:
            rows = [next(stream, None) for stream in streams]
            if all(row is None for row in rows):
                return
            if any(row is None for row in rows):
                short = [
                    path.name
                    for path, row in zip(self.paths, rows, strict=True)
                    if row is None
                ]
                raise ValueError(
                    "Files of blocks must have as many records as each other. "
                    f"Received: {', '.join(short)} ends after {num_read} "
                    f"records in {self.paths[0].parent}. Copy it again."
                )
            yield self._record(iter(rows))
            num_read += 1

    def _record(self, rows: Iterator[Any]) -> BlockRecord:
        text = _text(next(rows))
        title = _text(next(rows)) if self._titles else ""
        if not self._examples:
            return BlockRecord(text, title)
        example = tf.train.Example.FromString(next(rows))
        return BlockRecord(
            text,
            title,
            len(_integers(example, "token_ids")),
            tuple(_integers(example, "sentence_starts")),
        )


class _RetrievalCorpus(BlockRecords):
    """Shards of `tf.train.Example` with title and body."""

    def __iter__(self) -> Iterator[BlockRecord]:
        for path in self.paths:
            for record in read_tfrecords(path):
                features = tf.train.Example.FromString(record).features.feature
                missing = {"title", "body"} - set(features)
                if missing:
                    raise ValueError(
                        "Records of a retrieval corpus must have title and "
                        f"body. Received: {sorted(features)} in {path}. Check "
                        "the path."
                    )
                title, body = (
                    _text(features[name].bytes_list.value[0])
                    for name in ("title", "body")
                )
                yield BlockRecord(body, title)


def read_tfrecords(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Records of a TFRecord file, plain or gzip-compressed.

    TensorFlow notices damage, but no file that ends between two records:
    whoever knows their number must count.

    Raises:
        ValueError: at damaged data, with the number of the record.
    """
    with open(path, "rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    if is_gzip:
        yield from _gzip_records(path)
        return
    dataset = tf.data.TFRecordDataset(
        os.fspath(path), buffer_size=_BUFFER_BYTES
    )
    number = 0
    try:
        for record in dataset.as_numpy_iterator():
            yield record
            number += 1
    except tf.errors.OpError as error:
        message = error.message.splitlines()[0]
        raise _damaged(path, number, message) from error


def _gzip_records(path: str | os.PathLike[str]) -> Iterator[bytes]:
    # TensorFlow takes the end of cut-off data for the end of the file. Gzip
    # has a checksum of its own, so those of the records are passed over.
    number = 0
    with DecompressedFile(path) as file:
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _damaged(path, number, "it has no length")
            (size,) = _HEADER.unpack(header)
            if size > _MAX_RECORD_BYTES:
                raise _damaged(path, number, f"it would have {size} bytes")
            record = file.read(size)
            if len(record) < size or len(file.read(4)) < 4:
                raise _damaged(path, number, "it is cut off")
            yield record
            number += 1


def _damaged(
    path: str | os.PathLike[str], number: int, problem: str
) -> ValueError:
    return ValueError(
        f"{path} must hold whole records. Received: record {number} is "
        f"damaged ({problem}). Copy it again."
    )


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
    """Numbered shards, in order; none if the folder has none.

    Raises:
        ValueError: if one is missing.
    """
    if not folder.is_dir():
        return []
    found = [(p, m) for p in folder.iterdir() if (m := _SHARD.search(p.name))]
    numbers = sorted(int(match[1]) for _, match in found)
    if not found:
        return []
    expected = list(range(int(found[0][1][2])))
    if numbers != expected:
        missing = sorted(set(expected) - set(numbers))
        raise ValueError(
            "All shards of a corpus must be there once. Received: "
            f"{len(numbers)} of {len(expected)} in {folder}, without "
            f"{missing[:5]}. Download the others."
        )
    return [p for p, _ in sorted(found, key=lambda pair: pair[0].name)]


def _integers(example: Any, name: str) -> list[int]:
    return list(example.features.feature[name].int64_list.value)


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        return data
    return data.decode("utf-8", "replace")
