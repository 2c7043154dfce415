import numpy as np
import pytest

from realm_tf.retrieval.searchers import brute_force_searcher
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.searcher import exact_scores


def test_search_is_exact():
    assert BruteForceSearcher.is_exact


@pytest.mark.parametrize("batch_queries", [1, 3, 128])
@pytest.mark.parametrize("chunk_rows", [1, 7, 64, 4096])
def test_results_do_not_depend_on_batch_and_chunk_size(
    monkeypatch, make_embeddings, chunk_rows, batch_queries
):
    rows = make_embeddings(500, dim=33)
    rows[100:140] = rows[0]  # ties across chunk borders
    queries = make_embeddings(10, dim=33, seed=1)
    expected = np.stack([exact_scores(query, rows) for query in queries])
    order = np.argsort(-expected, axis=1, kind="stable")[:, :60]

    monkeypatch.setattr(brute_force_searcher, "_BATCH_QUERIES", batch_queries)
    chunks = EmbeddingMatrix.chunks
    monkeypatch.setattr(
        EmbeddingMatrix, "chunks", lambda self: chunks(self, chunk_rows)
    )
    searcher = BruteForceSearcher(rows)
    result = searcher.search(queries, 60)
    np.testing.assert_array_equal(result.block_ids, order)
    for number, query in enumerate(queries):
        alone = searcher.search(query[None], 60)
        np.testing.assert_array_equal(alone.scores[0], result.scores[number])
        np.testing.assert_array_equal(
            alone.block_ids[0], result.block_ids[number]
        )


def test_nearly_equal_scores_are_ordered_exactly():
    # Cancellation: products of 1e3 whose sums differ in the seventh digit.
    generator = np.random.default_rng(0)
    row = 100 * generator.standard_normal(64)
    rows = np.tile(row, (2000, 1)) + 1e-5 * generator.standard_normal(
        (2000, 64)
    )
    rows = rows.astype(np.float32)
    queries = generator.standard_normal((5, 64)).astype(np.float32)
    expected = np.stack([exact_scores(query, rows) for query in queries])
    order = np.argsort(-expected, axis=1, kind="stable")[:, :10]
    result = BruteForceSearcher(rows).search(queries, 10)
    np.testing.assert_array_equal(result.block_ids, order)


def test_all_zero_query_returns_the_first_blocks():
    rows = np.ones((5, 3), np.float32)
    result = BruteForceSearcher(rows).search(np.zeros((1, 3)), 2)
    assert result.block_ids.tolist() == [[0, 1]]
    assert result.scores.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("num_blocks", [0, 1, 2])
def test_i19_tiny_indexes_return_what_exists(num_blocks):
    rows = np.ones((num_blocks, 3), np.float32)
    result = BruteForceSearcher(rows).search(np.ones((2, 3)), 4)
    assert ((result.block_ids >= 0).sum(axis=1) == num_blocks).all()


def test_memory_does_not_grow_with_the_number_of_blocks(monkeypatch):
    seen = []
    chunks = EmbeddingMatrix.chunks

    def spy(self):
        for first, rows in chunks(self, 16):
            seen.append(len(rows))
            yield first, rows

    monkeypatch.setattr(EmbeddingMatrix, "chunks", spy)
    BruteForceSearcher(np.ones((100, 2), np.float32)).search([[1, 1]], 3)
    assert max(seen) == 16
    assert sum(seen) == 100
