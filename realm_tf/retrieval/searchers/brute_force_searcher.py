"""BruteForceSearcher: exact search that needs nothing but NumPy."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.searcher import (
    Searcher,
    SearchResult,
    best_first,
    exact_scores,
)

# Of a chunk's scores, at most CHUNK_ROWS x this many float32 exist at once:
# 32 MB. Larger batches are not faster.
_BATCH_QUERIES = 128
_LOWEST = np.finfo(np.float32).min


class BruteForceSearcher(Searcher):
    """Scores every block: the oracle of all other searchers.

    Each chunk of embeddings is scored by one matrix product, which may be off
    in its last bits. Whatever could belong to the best `k` within the bound of
    that error is rescored by `exact_scores`, so results are exact and the
    same for every batch size and chunk size. Memory does not grow with the
    number of blocks.

    TensorFlow's product was not faster than NumPy's on the processor (1M x 128,
    32 queries: 0.20 s against 0.26 s), hence no TensorFlow here.

    Example:
    >>> searcher = BruteForceSearcher(np.eye(3, dtype=np.float32))
    >>> searcher.search([[0.0, 2.0, 1.0]], k=2).block_ids.tolist()
    [[1, 2]]
    """

    is_exact = True

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        excluded: npt.NDArray[np.int64],
    ) -> SearchResult:
        result = SearchResult.empty(len(queries), k)
        for start in range(0, len(queries), _BATCH_QUERIES):
            end = start + _BATCH_QUERIES
            best = self._search_batch(queries[start:end], k, excluded)
            for row, (scores, block_ids) in enumerate(best, start):
                result.scores[row, : len(scores)] = scores
                result.block_ids[row, : len(scores)] = block_ids
        return result

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes nothing: the embeddings are all there is."""

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        embeddings: EmbeddingMatrix | npt.NDArray[Any],
    ) -> "BruteForceSearcher":
        return cls(embeddings)

    def _search_batch(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        excluded: npt.NDArray[np.int64],
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        margins = self._margins(queries)
        nothing = np.empty(0, np.float32), np.empty(0, np.int64)
        best = [nothing] * len(queries)
        # Products below a query's floor cannot be among its best k.
        floors = np.full(len(queries), _LOWEST)
        for first, rows in self.embeddings.chunks():
            # (rows, batch); this order is the faster one for large chunks.
            products = rows @ queries.T
            products[_within(excluded, first, len(rows))] = -np.inf
            _raise_floors(floors, products, k, margins)
            for number, local in _passing(products, floors):
                scores, block_ids = best[number]
                scores = np.append(
                    scores, exact_scores(queries[number], rows[local])
                )
                block_ids = np.append(block_ids, first + local)
                order = best_first(scores, block_ids, k)
                best[number] = scores[order], block_ids[order]
                if len(order) == k:
                    floors[number] = scores[order[-1]] - margins[number]
        return best

    def _margins(
        self, queries: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Twice the rounding error that a product of each query can have.

        |fl(q.x) - q.x| <= dim u |q| |x|, u = 2^-24, in any order of summation
        (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1);
        two units more for the rounding of exact scores and of the floor.
        """
        unit = np.finfo(np.float32).eps / 2
        norms = np.linalg.norm(queries.astype(np.float64), axis=1)
        bounds = norms * self.embeddings.max_norm
        return (2 * (self.embedding_dim + 2) * unit * bounds).astype(np.float32)


def _within(
    block_ids: npt.NDArray[np.int64], first: int, count: int
) -> npt.NDArray[np.int64]:
    """Positions in a chunk of those of the ascending ids that lie in it."""
    start, end = np.searchsorted(block_ids, (first, first + count))
    return block_ids[start:end] - first


def _raise_floors(
    floors: npt.NDArray[np.float32],
    products: npt.NDArray[np.float32],
    k: int,
    margins: npt.NDArray[np.float32],
) -> None:
    """Finds a floor for queries without one, from the k-th product here."""
    without = np.flatnonzero(floors == _LOWEST)
    if not len(without) or len(products) <= k:
        return
    ordered = np.partition(products[:, without], len(products) - k, axis=0)
    kth = ordered[len(products) - k]
    floors[without] = np.maximum(kth - margins[without], _LOWEST)


def _passing(
    products: npt.NDArray[np.float32], floors: npt.NDArray[np.float32]
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yields `(query, positions)` of the products that reach the floor."""
    positions, numbers = np.nonzero(products >= floors)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(floors) + 1))
    for number in range(len(floors)):
        start, end = bounds[number], bounds[number + 1]
        if start < end:
            yield number, positions[order[start:end]]
