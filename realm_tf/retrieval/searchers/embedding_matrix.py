"""EmbeddingMatrix: the embeddings of all blocks, read from .npy shards."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from realm_tf._constants import STORAGES
from realm_tf._files import OpenFile, open_npy
from realm_tf.errors import FolderError

# Squares and products of norms up to here stay far from float32's limit, where
# ScaNN aborts the process. Norms of trained embeddings are about 10.
MAX_NORM = 1e6
# 1M rows of 128 float32 are 512 MB; a corpus of 13M blocks has 14 shards.
ROWS_PER_SHARD = 2**20
CHUNK_ROWS = 2**16
# NumPy cannot name bfloat16 in a .npy header, so its bits are stored.
STORED_DTYPES: dict[str, np.dtype[Any]] = dict(
    zip(STORAGES, (np.dtype("<f4"), np.dtype("<u2")), strict=True)
)


class EmbeddingMatrix:
    """Rows of float32 or bfloat16, in memory or on disk, read as float32.

    Args:
        shards: arrays `(rows, dim)` of float32 or bfloat16, in row order.
        dim: width of the rows.
        max_norm: largest Euclidean norm of a row, or a bound of it.
        files: .npy files of the shards, if they have any. A file that is
            written into is noticed when the rows are read.
    """

    def __init__(
        self,
        shards: Sequence[npt.NDArray[Any]],
        *,
        dim: int,
        max_norm: float,
        files: Sequence[OpenFile] = (),
    ):
        self.shards = tuple(shards)
        self.files = tuple(files)
        self.dim = dim
        self.max_norm = max_norm
        # First row of each shard, and the number of rows.
        self._starts = np.cumsum([0] + [len(shard) for shard in self.shards])

    @classmethod
    def from_array(cls, array: npt.NDArray[Any]) -> "EmbeddingMatrix":
        """Wraps an array (or memory map) whose rows are all sound."""
        array = np.asarray(array)
        if array.ndim != 2 or array.dtype not in (
            np.float32,
            ml_dtypes.bfloat16,
        ):
            raise ValueError(
                "`embeddings` must be a float32 or bfloat16 array of shape "
                f"(num_blocks, embedding_dim). Received: shape={array.shape}, "
                f"dtype={array.dtype}."
            )
        max_norm = 0.0
        for start in range(0, len(array), CHUNK_ROWS):
            norms = row_norms(array[start : start + CHUNK_ROWS])
            if not (norms <= MAX_NORM).all():
                bad = start + np.flatnonzero(~(norms <= MAX_NORM))
                raise ValueError(
                    "`embeddings` must be finite, with norms up to "
                    f"{MAX_NORM:g}. Received: rows {bad[:5].tolist()} are not."
                )
            max_norm = max(max_norm, float(norms.max()))
        return cls([array], dim=array.shape[1], max_norm=max_norm)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        num_rows: int,
        dim: int,
        dtype: str,
        max_norm: float,
        files: Mapping[str, OpenFile] | None = None,
    ) -> "EmbeddingMatrix":
        """Memory-maps the shards that `EmbeddingWriter` wrote.

        Args:
            folder: where they are.
            num_rows: number of rows.
            dim: width of the rows.
            dtype: "float32" or "bfloat16", as stored.
            max_norm: see the class.
            files: the files of `folder` by name, where they are open already.

        Raises:
            FolderError: if a shard is not what the arguments say.
        """
        folder = pathlib.Path(folder)
        shards, opened = [], []
        for name, rows in shard_sizes(num_rows):
            file = files[name] if files else _open_file(folder / name)
            shards.append(_map_shard(file, (rows, dim), dtype))
            opened.append(file)
        return cls(shards, dim=dim, max_norm=max_norm, files=opened)

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Where the files of the shards are, or were."""
        return tuple(file.path for file in self.files)

    @property
    def num_rows(self) -> int:
        """Number of rows in all shards."""
        return int(self._starts[-1])

    def chunks(
        self, chunk_rows: int = CHUNK_ROWS
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Yields `(first row, float32 rows)` in order, never much at once."""
        for first, shard in zip(self._starts, self.shards, strict=False):
            for start in range(0, len(shard), chunk_rows):
                self._check_unchanged()
                rows = np.asarray(shard[start : start + chunk_rows], np.float32)
                yield int(first) + start, rows

    def rows(self, row_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Gathers rows: int64 `(...)` to float32 `(..., dim)`."""
        self._check_unchanged()
        flat = np.asarray(row_ids, np.int64).ravel()
        gathered = np.empty((len(flat), self.dim), np.float32)
        shard_of_row = np.searchsorted(self._starts, flat, side="right") - 1
        for number in np.unique(shard_of_row):
            here = shard_of_row == number
            local = flat[here] - self._starts[number]
            gathered[here] = self.shards[number][local]
        return gathered.reshape(*np.shape(row_ids), self.dim)

    def _check_unchanged(self) -> None:
        for file in self.files:
            file.check_unchanged()


def row_norms(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Euclidean norm of each row; NaN or infinite for a row that is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(rows.astype(np.float64), axis=1)


def bad_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Positions of rows that are NaN, infinite, too long or all zero."""
    norms = row_norms(rows)
    return np.flatnonzero(~((norms > 0) & (norms <= MAX_NORM)))


def bad_rows_error(
    block_ids: npt.NDArray[np.int64], way_out: str
) -> ValueError:
    """The error for embeddings that cannot be searched."""
    more = "" if len(block_ids) <= 10 else f" and {len(block_ids) - 10} more"
    return ValueError(
        "Embeddings must be finite, not all zero, with norms up to "
        f"{MAX_NORM:g}. Received: bad embeddings of blocks "
        f"{block_ids[:10].tolist()}{more}. Check the block embedder, or "
        f"{way_out}."
    )


def shard_sizes(num_rows: int) -> Iterator[tuple[str, int]]:
    """File name and number of rows of each shard."""
    count = -(-num_rows // ROWS_PER_SHARD)
    for number in range(count):
        rows = min(ROWS_PER_SHARD, num_rows - number * ROWS_PER_SHARD)
        yield f"embeddings-{number:05d}-of-{count:05d}.npy", rows


def _open_file(path: pathlib.Path) -> OpenFile:
    try:
        return OpenFile(path)
    except FileNotFoundError as error:
        raise FolderError(
            f"{path} must hold embeddings. Received: {error}. Rebuild the "
            "index."
        ) from error


def _map_shard(
    file: OpenFile, shape: tuple[int, int], dtype: str
) -> npt.NDArray[Any]:
    stored = STORED_DTYPES[dtype].str if dtype in STORED_DTYPES else dtype
    shard = open_npy(file, stored, shape, "Rebuild the index.")
    return shard.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else shard
