"""How much of the exact result an approximate searcher finds."""

import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.searcher import SearchResult

# Questions lie near the blocks that answer them, not on them.
_NOISE = 0.5
_SEED = 0


def searcher_recall_at_k(
    found: SearchResult, exact: SearchResult, k: int
) -> float:
    """Share of the exact top `k` that was found, over all queries.

    Args:
        found: results of the searcher that is measured.
        exact: results of `BruteForceSearcher` for the same queries.
        k: how many results count; at most as many as were searched for.

    Returns:
        float in [0, 1]; 1.0 if there is nothing to find.

    Example:
    >>> ids = np.array([[1, 2]]), np.array([[2, 3]])
    >>> scores = np.ones((1, 2), np.float32)
    >>> a, b = (SearchResult(scores, i) for i in ids)
    >>> searcher_recall_at_k(a, b, k=2)
    0.5
    """
    num_found, num_exact = 0, 0
    pairs = zip(found.block_ids[:, :k], exact.block_ids[:, :k], strict=True)
    for found_ids, exact_ids in pairs:
        exact_ids = exact_ids[exact_ids != MISSING_BLOCK_ID]
        num_exact += len(exact_ids)
        num_found += int(np.isin(exact_ids, found_ids).sum())
    return num_found / num_exact if num_exact else 1.0


def sample_queries(
    matrix: EmbeddingMatrix, count: int
) -> npt.NDArray[np.float32]:
    """Embeddings of random blocks, moved by noise half their length.

    Args:
        matrix: `EmbeddingMatrix` with at least one row.
        count: number of queries.

    Returns:
        float32 array `(count, dim)`, the same in each call.
    """
    generator = np.random.default_rng(_SEED)
    rows = matrix.rows(generator.integers(0, matrix.num_rows, count))
    length = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(matrix.dim)
    noise = generator.standard_normal(rows.shape, np.float32)
    return (rows + _NOISE * length * noise).astype(np.float32)
