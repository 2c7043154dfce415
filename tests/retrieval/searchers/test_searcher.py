import ml_dtypes
import numpy as np
import pytest

from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.scann_searcher import ScannSearcher
from realm_tf.retrieval.searchers.searcher import (
    Searcher,
    SearchResult,
    exact_scores,
    merge_results,
)

NUM_BLOCKS = 300


@pytest.fixture(scope="module")
def make_searcher(tmp_path_factory):
    """Builds each searcher once per module; ScaNN looks at all leaves."""
    built = {}

    def make(kind, dtype):
        if (kind, dtype) not in built:
            # Small integers: many ties, and sums that are exact in float32.
            generator = np.random.default_rng(0)
            rows = generator.integers(-2, 3, (NUM_BLOCKS, 8)).astype(dtype)
            if kind == "brute_force":
                searcher = BruteForceSearcher(rows)
            else:
                searcher = ScannSearcher.build(
                    rows,
                    tmp_path_factory.mktemp("scann") / "files",
                    ScannOptions(
                        num_leaves=4,
                        leaves_to_search=4,
                        candidates_per_result=300,
                    ),
                )
            built[kind, dtype] = searcher, rows.astype(np.float32)
        return built[kind, dtype]

    return make


def oracle(rows, queries, k):
    scores = queries @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    missing = k - order.shape[1]
    scores = np.take_along_axis(scores, order, axis=1)
    return (
        np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(order, ((0, 0), (0, missing)), constant_values=-1),
    )


kinds = pytest.mark.parametrize("kind", ["brute_force", "scann"])


@pytest.mark.parametrize("batch", [0, 1, 7, 33])
@pytest.mark.parametrize("k", [1, 5, 299, 300, 310])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@kinds
def test_search_equals_numpy_argsort(make_searcher, kind, dtype, k, batch):
    searcher, rows = make_searcher(kind, dtype)
    queries = np.random.default_rng(1).integers(-2, 3, (batch, 8))
    queries = queries.astype(np.float32)
    result = searcher.search(queries, k)
    scores, block_ids = oracle(rows, queries, k)
    np.testing.assert_array_equal(result.block_ids, block_ids)
    np.testing.assert_array_equal(result.scores, scores)
    assert result.scores.dtype == np.float32
    assert result.block_ids.dtype == np.int64


@kinds
def test_search_after_save_and_load_is_the_same(make_searcher, kind, tmp_path):
    searcher, rows = make_searcher(kind, np.float32)
    searcher.save(tmp_path)
    loaded = type(searcher).load(tmp_path, rows)
    queries = rows[:5] + np.float32(0.5)
    np.testing.assert_array_equal(
        loaded.search(queries, 10).block_ids,
        searcher.search(queries, 10).block_ids,
    )


@kinds
def test_search_never_returns_excluded_blocks(make_searcher, kind):
    searcher, rows = make_searcher(kind, np.float32)
    excluded = np.arange(0, NUM_BLOCKS, 2)
    result = searcher.search(rows[:4], 200, excluded=excluded)
    _, block_ids = oracle(rows[1::2], rows[:4], 150)
    np.testing.assert_array_equal(result.block_ids[:, :150], 2 * block_ids + 1)
    assert (result.block_ids[:, 150:] == -1).all()


@kinds
def test_search_with_everything_excluded_is_empty(make_searcher, kind):
    searcher, rows = make_searcher(kind, np.float32)
    result = searcher.search(rows[:2], 3, excluded=np.arange(NUM_BLOCKS))
    assert (result.block_ids == -1).all()
    assert (result.scores == -np.inf).all()


@kinds
@pytest.mark.parametrize(
    ("queries", "k", "match"),
    [
        (np.full((1, 8), np.nan), 1, "must be finite.*rows \\[0\\] of 1"),
        (np.full((2, 8), np.inf), 1, "must be finite"),
        (np.full((1, 8), 3e38), 1, "norms up to 1e\\+06"),
        (np.zeros((1, 7)), 1, "shape \\(batch, 8\\).*shape=\\(1, 7\\)"),
        (np.zeros(8), 1, "shape=\\(8,\\)"),
        (np.zeros((1, 8)), 0, "1 or more.*k=0"),
        (np.zeros((1, 8)), -1, "k=-1"),
        (np.zeros((1, 8)), 2.0, "k=2.0"),
        (np.zeros((1, 8)), True, "k=True"),
    ],
)
def test_search_refuses_what_cannot_be_searched(
    make_searcher, kind, queries, k, match
):
    searcher, _ = make_searcher(kind, np.float32)
    with pytest.raises(ValueError, match=match):
        searcher.search(queries, k)


def test_searcher_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Searcher(np.zeros((1, 2), np.float32))


def test_searcher_accepts_a_matrix_as_it_is():
    matrix = EmbeddingMatrix.from_array(np.ones((3, 2), np.float32))
    searcher = BruteForceSearcher(matrix)
    assert searcher.embeddings is matrix
    assert (searcher.num_blocks, searcher.embedding_dim) == (3, 2)


def test_exact_scores_do_not_depend_on_the_other_rows():
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((1000, 129)).astype(np.float32)
    query = rows[0]
    together = exact_scores(query, rows)
    alone = [exact_scores(query, rows[i : i + 1])[0] for i in range(len(rows))]
    np.testing.assert_array_equal(together, alone)


def test_merge_results_orders_by_score_then_id_and_pads():
    a = SearchResult(np.float32([[3, 1]]), np.array([[7, 2]]))
    b = SearchResult(np.float32([[3, -np.inf]]), np.array([[5, -1]]))
    merged = merge_results([a, b], 5)
    assert merged.block_ids.tolist() == [[5, 7, 2, -1, -1]]
    assert merged.scores.tolist() == [[3, 3, 1, -np.inf, -np.inf]]
