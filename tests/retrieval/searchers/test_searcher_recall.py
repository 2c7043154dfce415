import numpy as np
import pytest

from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.searcher import SearchResult
from realm_tf.retrieval.searchers.searcher_recall import (
    sample_queries,
    searcher_recall_at_k,
)


def result(block_ids):
    block_ids = np.array(block_ids, np.int64)
    return SearchResult(np.zeros(block_ids.shape, np.float32), block_ids)


def test_recall_counts_exact_results_over_all_queries():
    found = result([[1, 9, 3], [4, 5, 6]])
    exact = result([[1, 2, 3], [6, 5, 4]])
    # k=3: {1, 3} of 3 and 3 of 3; k=1: 1 of 1, and 4 is not 6.
    assert searcher_recall_at_k(found, exact, 3) == pytest.approx(5 / 6)
    assert searcher_recall_at_k(found, exact, 1) == pytest.approx(1 / 2)


def test_missing_results_are_not_expected_and_not_found():
    # Only block 1 exists; the padding of both results does not count.
    assert searcher_recall_at_k(result([[1, -1]]), result([[1, -1]]), 2) == 1.0
    assert searcher_recall_at_k(result([[-1, -1]]), result([[1, -1]]), 2) == 0.0
    assert searcher_recall_at_k(result([[-1]]), result([[-1]]), 1) == 1.0


def test_recall_refuses_results_of_different_batches():
    with pytest.raises(ValueError, match="shorter|longer"):
        searcher_recall_at_k(result([[1]]), result([[1], [2]]), 1)


def test_sampled_queries_lie_near_blocks_and_are_the_same_each_time():
    rows = 10 * np.random.default_rng(0).standard_normal((30, 128))
    matrix = EmbeddingMatrix.from_array(rows.astype(np.float32))
    queries = sample_queries(matrix, 50)
    assert queries.shape == (50, 128)
    assert queries.dtype == np.float32
    np.testing.assert_array_equal(queries, sample_queries(matrix, 50))
    distances = np.linalg.norm(queries[:, None] - rows[None], axis=2)
    nearest = rows[distances.argmin(axis=1)]
    lengths = np.linalg.norm(nearest, axis=1)
    assert 0.4 < (distances.min(axis=1) / lengths).mean() < 0.6
