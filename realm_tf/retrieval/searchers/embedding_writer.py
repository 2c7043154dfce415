"""EmbeddingWriter: streams embeddings into .npy shards, checked."""

import os
import pathlib
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt

from realm_tf._files import write_npy_header
from realm_tf.retrieval.searchers.embedding_matrix import (
    STORED_DTYPES,
    EmbeddingMatrix,
    bad_rows,
    bad_rows_error,
    row_norms,
    shard_sizes,
)


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
        if dtype not in STORED_DTYPES:
            raise ValueError(
                f"`dtype` must be one of {sorted(STORED_DTYPES)}. Received: "
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
        self._shards = shard_sizes(num_rows)
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
            way_out = "pass `skip_bad=True` to leave them out of every search"
            raise bad_rows_error(self.rows_written + bad, way_out)
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
        name, self._free_rows = next(self._shards)
        self._file = open(self._folder / name, "wb")
        dtype = STORED_DTYPES[self._dtype]
        write_npy_header(self._file, dtype, (self._free_rows, self.dim or 0))
