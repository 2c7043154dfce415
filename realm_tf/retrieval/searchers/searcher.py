"""Searcher: maximum inner product search over the embeddings of blocks."""

import abc
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf import _constants
from realm_tf.retrieval.searchers.embedding_matrix import (
    MAX_NORM,
    EmbeddingMatrix,
)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The best blocks of each query.

    Args:
        scores: float32 array `(batch, k)`, descending; `-inf` where missing.
        block_ids: int64 array `(batch, k)`; `MISSING_BLOCK_ID` where missing.
            Blocks of equal score are in the order of their ids.
        bm25: float32 array `(batch, k)`, BM25 of the blocks, which
            `scores` contain with a weight; 0 where missing. None if words were
            not compared.
    """

    scores: npt.NDArray[np.float32]
    block_ids: npt.NDArray[np.int64]
    bm25: npt.NDArray[np.float32] | None = None

    @classmethod
    def empty(cls, batch: int, k: int) -> "SearchResult":
        """A result in which every block is missing."""
        return cls(
            np.full((batch, k), -np.inf, np.float32),
            np.full((batch, k), _constants.MISSING_BLOCK_ID, np.int64),
        )


class Searcher(abc.ABC):
    """Finds the blocks whose embeddings have the largest inner products.

    The score of a block is its inner product with the query, summed in float64
    over the stored embedding and rounded to float32. Every searcher returns
    these exact scores, however it chose its candidates, so a result does not
    depend on the size of the batch the query came in.

    Args:
        embeddings: `EmbeddingMatrix`, or array `(num_blocks, embedding_dim)`
            of float32 or bfloat16. Row number = block id.
    """

    is_exact: bool

    def __init__(self, embeddings: EmbeddingMatrix | npt.NDArray[Any]):
        if not isinstance(embeddings, EmbeddingMatrix):
            embeddings = EmbeddingMatrix.from_array(embeddings)
        self.embeddings = embeddings

    @property
    def num_blocks(self) -> int:
        """Number of rows that are searched."""
        return self.embeddings.num_rows

    @property
    def embedding_dim(self) -> int:
        """Width of queries and embeddings."""
        return self.embeddings.dim

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        excluded: npt.NDArray[np.int64] | None = None,
    ) -> SearchResult:
        """Returns the `k` best blocks of each query.

        Args:
            queries: float array `(batch, embedding_dim)`.
            k: number of results per query, 1 or more. Where fewer blocks
                exist, the rest is padded; see `SearchResult`.
            excluded: int64 array of block ids, ascending, never to return.

        Returns:
            `SearchResult`.

        Raises:
            ValueError: if `queries` or `k` cannot be searched.
        """
        queries = check_queries(queries, self.embedding_dim)
        check_k(k)
        if excluded is None:
            excluded = np.empty(0, np.int64)
        return self._search(queries, int(k), excluded)

    @abc.abstractmethod
    def _search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        excluded: npt.NDArray[np.int64],
    ) -> SearchResult:
        """Searches checked arguments."""

    @abc.abstractmethod
    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the searcher's files into `folder`."""

    @classmethod
    @abc.abstractmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        embeddings: EmbeddingMatrix | npt.NDArray[Any],
    ) -> "Searcher":
        """Opens the files that `save` wrote, over the same embeddings."""


def check_queries(
    queries: npt.ArrayLike, embedding_dim: int
) -> npt.NDArray[np.float32]:
    """Returns `queries` as float32, or raises `ValueError`."""
    array = np.asarray(queries)
    if array.ndim != 2 or array.shape[1] != embedding_dim:
        raise ValueError(
            f"`queries` must have the shape (batch, {embedding_dim}). "
            f"Received: shape={array.shape}. Use the query embedder that "
            "belongs to this index."
        )
    array = np.ascontiguousarray(array, np.float32)
    norms = np.linalg.norm(array.astype(np.float64), axis=1)
    if not (norms <= MAX_NORM).all():  # NaN compares false
        bad = np.flatnonzero(~(norms <= MAX_NORM))
        raise ValueError(
            f"`queries` must be finite, with norms up to {MAX_NORM:g}. "
            f"Received: rows {bad[:5].tolist()} of {len(array)} are not. Check "
            "the query embedder for NaN weights."
        )
    return array


def check_texts(
    texts: Sequence[str] | None, queries: npt.ArrayLike
) -> Sequence[str]:
    """Returns `texts`, or raises `ValueError` unless there is one a query."""
    expected = len(np.asarray(queries))
    if texts is None or len(texts) != expected:
        received = "none" if texts is None else str(len(texts))
        raise ValueError(
            "`texts` must have the text of each of `queries`, whose words are "
            f"compared. Expected: {expected}. Received: {received}. Name them, "
            "or take `lexical_weight=0`."
        )
    return texts


def check_k(k: int) -> None:
    """Raises `ValueError` unless `k` is a count of results."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(
            f"`k` must be an integer of 1 or more. Received: k={k!r}."
        )


def exact_scores(
    query: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Inner products by a fixed order of summation.

    A BLAS product of the same two vectors differs in its last bits with the
    size of the batch; this one does not.

    Args:
        query: float32 array `(embedding_dim,)`.
        rows: float32 array `(num_candidates, embedding_dim)`.

    Returns:
        float32 array `(num_candidates,)`.
    """
    return np.einsum(
        "nd,d->n", rows.astype(np.float64), query.astype(np.float64)
    ).astype(np.float32)


def best_first(
    scores: npt.NDArray[np.float32], block_ids: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.intp]:
    """Positions of the `k` best: score descending, then id ascending."""
    return np.lexsort((block_ids, -scores))[:k]


def merge_results(results: list[SearchResult], k: int) -> SearchResult:
    """Merges results over disjoint sets of blocks into one of width `k`."""
    scores = np.concatenate([r.scores for r in results], axis=1)
    block_ids = np.concatenate([r.block_ids for r in results], axis=1)
    merged = SearchResult.empty(len(scores), k)
    for row in range(len(scores)):
        best = best_first(scores[row], block_ids[row], k)
        merged.scores[row, : len(best)] = scores[row, best]
        merged.block_ids[row, : len(best)] = block_ids[row, best]
    return merged


def check_block_ids(ids: npt.NDArray[np.int64], lowest: int, end: int) -> None:
    """Checks that blocks exist.

    Raises:
        IndexError: if an id is not in [lowest, end).
    """
    bad = ids[(ids < lowest) | (ids >= end)]
    if len(bad):
        raise IndexError(
            f"`block_ids` must be in [{lowest}, {end}). Received: "
            f"{bad[:5].tolist()}. Look up what a search of this index found, "
            "without `MISSING_BLOCK_ID` (-1)."
        )
