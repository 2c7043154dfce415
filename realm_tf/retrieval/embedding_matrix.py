"""EmbeddingMatrix: the embeddings of all blocks, read from .npy shards."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt

from realm_tf._manifest import FolderError

# Squares and products of norms up to here stay far from float32's limit, where
# ScaNN aborts the process. Norms of trained embeddings are about 10.
MAX_NORM = 1e6
# 1M rows of 128 float32 are 512 MB; a corpus of 13M blocks has 14 shards.
ROWS_PER_SHARD = 2**20
CHUNK_ROWS = 2**16
# NumPy cannot name bfloat16 in a .npy header, so its bits are stored.
_STORED_DTYPES = {"float32": np.dtype("<f4"), "bfloat16": np.dtype("<u2")}


class EmbeddingMatrix:
    """Rows of float32 or bfloat16, in memory or on disk, read as float32.

    Args:
        shards: arrays `(rows, dim)` of float32 or bfloat16, in row order.
        dim: width of the rows.
        max_norm: largest Euclidean norm of a row, or a bound of it.
    """

    def __init__(
        self, shards: Sequence[npt.NDArray[Any]], *, dim: int, max_norm: float
    ):
        self.shards = tuple(shards)
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
    ) -> "EmbeddingMatrix":
        """Memory-maps the shards that `EmbeddingWriter` wrote.

        Raises:
            FolderError: if a shard is not what the arguments say.
        """
        folder = pathlib.Path(folder)
        shards = []
        for name, rows in _shard_sizes(num_rows):
            try:
                shard = np.load(folder / name, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise FolderError(
                    f"{folder / name} must be an .npy file. Received: {error}. "
                    "Copy the folder again, or build it again."
                ) from error
            expected = ((rows, dim), _STORED_DTYPES[dtype])
            if (shard.shape, shard.dtype) != expected:
                raise FolderError(
                    f"{folder / name} must hold what its manifest says. "
                    f"Expected: {expected[0]} {expected[1]}. Received: "
                    f"{shard.shape} {shard.dtype}. Build the index again."
                )
            if dtype == "bfloat16":
                shard = shard.view(ml_dtypes.bfloat16)
            shards.append(shard)
        return cls(shards, dim=dim, max_norm=max_norm)

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
                rows = np.asarray(shard[start : start + chunk_rows], np.float32)
                yield int(first) + start, rows

    def rows(self, row_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Gathers rows: int64 `(...)` to float32 `(..., dim)`."""
        flat = np.asarray(row_ids, np.int64).ravel()
        gathered = np.empty((len(flat), self.dim), np.float32)
        shard_of_row = np.searchsorted(self._starts, flat, side="right") - 1
        for number in np.unique(shard_of_row):
            here = shard_of_row == number
            local = flat[here] - self._starts[number]
            gathered[here] = self.shards[number][local]
        return gathered.reshape(*np.shape(row_ids), self.dim)


class EmbeddingWriter:
    """Streams checked rows into .npy shards.

    Args:
        folder: where the shards go.
        num_rows: how many rows will come.
        dtype: "float32" or "bfloat16", as stored.
        skip_bad: store zeros for a bad row and remember it in `bad_rows`, in
            place of raising.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        num_rows: int,
        *,
        dtype: str = "float32",
        skip_bad: bool = False,
    ):
        if dtype not in _STORED_DTYPES:
            raise ValueError(
                f"`dtype` must be one of {sorted(_STORED_DTYPES)}. Received: "
                f"dtype={dtype!r}."
            )
        self.num_rows = num_rows
        self.rows_written = 0
        self.dim: int | None = None
        self.max_norm = 0.0
        self.bad_rows: list[int] = []
        self._folder = pathlib.Path(folder)
        self._dtype = dtype
        self._skip_bad = skip_bad
        self._shards = _shard_sizes(num_rows)
        self._file: BinaryIO | None = None
        self._free_rows = 0  # of the open shard

    def __enter__(self) -> "EmbeddingWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, chunk: npt.ArrayLike) -> None:
        """Appends rows `(n, dim)`.

        Raises:
            ValueError: for a wrong shape, too many rows, or a bad row.
        """
        rows = self._checked(np.asarray(chunk))
        while len(rows):
            if self._free_rows == 0:
                self._next_shard()
            part, rows = rows[: self._free_rows], rows[self._free_rows :]
            assert self._file is not None
            self._file.write(np.ascontiguousarray(part).tobytes())
            self._free_rows -= len(part)

    def finish(self) -> EmbeddingMatrix:
        """Closes the last shard and returns the matrix.

        Raises:
            ValueError: if rows are missing.
        """
        if self.rows_written != self.num_rows or self.dim is None:
            raise ValueError(
                f"`embeddings` must have one row for each of the "
                f"{self.num_rows} blocks of the corpus. Received: "
                f"{self.rows_written} rows."
            )
        if self._file is not None:
            self._file.close()
        return EmbeddingMatrix.open(
            self._folder,
            num_rows=self.num_rows,
            dim=self.dim,
            dtype=self._dtype,
            max_norm=self.max_norm,
        )

    def _checked(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if rows.ndim != 2 or self.dim not in (None, rows.shape[1]):
            raise ValueError(
                "`embeddings` must come in chunks of shape (rows, "
                f"{self.dim or 'embedding_dim'}). Received: shape={rows.shape}."
            )
        if self.rows_written + len(rows) > self.num_rows:
            raise ValueError(
                f"`embeddings` must have one row for each of the "
                f"{self.num_rows} blocks of the corpus. Received: at least "
                f"{self.rows_written + len(rows)} rows."
            )
        rows = np.array(rows, np.float32)
        bad = bad_rows(rows)
        if len(bad) and not self._skip_bad:
            raise bad_rows_error(self.rows_written + bad)
        rows[bad] = 0.0
        self.bad_rows += (self.rows_written + bad).tolist()
        if self._dtype == "bfloat16":
            rows = rows.astype(ml_dtypes.bfloat16)
        if len(rows):
            self.max_norm = max(self.max_norm, float(row_norms(rows).max()))
        self.dim = rows.shape[1]
        self.rows_written += len(rows)
        return rows

    def _next_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        name, self._free_rows = self._shards.pop(0)
        # A memory map would turn a full disk into SIGBUS; write() raises.
        self._file = open(self._folder / name, "wb")
        header = {
            "descr": _STORED_DTYPES[self._dtype].str,
            "fortran_order": False,
            "shape": (self._free_rows, self.dim),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def row_norms(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Euclidean norm of each row; NaN or infinite for a row that is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(rows.astype(np.float64), axis=1)


def bad_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Positions of rows that are NaN, infinite, too long or all zero."""
    norms = row_norms(rows)
    return np.flatnonzero(~((norms > 0) & (norms <= MAX_NORM)))


def bad_rows_error(block_ids: npt.NDArray[np.int64]) -> ValueError:
    """The error for embeddings that cannot be searched."""
    more = "" if len(block_ids) <= 10 else f" and {len(block_ids) - 10} more"
    return ValueError(
        "Embeddings must be finite, not all zero, with norms up to "
        f"{MAX_NORM:g}. Received: bad embeddings of blocks "
        f"{block_ids[:10].tolist()}{more}. Check the block embedder, or pass "
        "`skip_bad=True` to leave these blocks out of every search."
    )


def _shard_sizes(num_rows: int) -> list[tuple[str, int]]:
    """File name and number of rows of each shard."""
    count = -(-num_rows // ROWS_PER_SHARD)
    return [
        (
            f"embeddings-{number:05d}-of-{count:05d}.npy",
            min(ROWS_PER_SHARD, num_rows - number * ROWS_PER_SHARD),
        )
        for number in range(count)
    ]
