import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.serving.export import graph_searcher
from realm_tf.serving.export.graph_searcher import BruteForceGraphSearcher


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("num_rows", "chunk"), [(300, 64), (256, 64), (3, 64)])
def test_search_finds_what_the_oracle_finds(
    monkeypatch, dtype, num_rows, chunk
):
    monkeypatch.setattr(graph_searcher, "_CHUNK_ROWS", chunk)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(num_rows, 8)).astype(dtype)
    embeddings[-1] = embeddings[0]  # ties go to the first
    searcher = BruteForceGraphSearcher(embeddings)
    search = tf.function(searcher.search, autograph=False)
    queries = rng.normal(size=(5, 8)).astype(np.float32)
    queries[0] = embeddings[0]
    want = BruteForceSearcher(embeddings).search(queries, 5)
    for row, query in enumerate(queries):
        scores, places = search(query, 5)
        exists = want.block_ids[row] >= 0
        assert places.numpy().tolist() == want.block_ids[row][exists].tolist()
        np.testing.assert_array_equal(scores, want.scores[row][exists])


def test_embeddings_are_a_variable():
    searcher = BruteForceGraphSearcher(np.eye(4, dtype=np.float32))
    (variable,) = searcher.variables
    assert variable.shape == (4, 4)
