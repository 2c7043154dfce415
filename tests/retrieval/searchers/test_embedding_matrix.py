import ml_dtypes
import numpy as np
import pytest

from realm_tf.errors import FolderError
from realm_tf.retrieval.searchers import embedding_matrix
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.embedding_writer import EmbeddingWriter


@pytest.fixture
def folder(tmp_path, monkeypatch, make_embeddings):
    """Ten rows in shards of four."""
    monkeypatch.setattr(embedding_matrix, "ROWS_PER_SHARD", 4)
    with EmbeddingWriter(tmp_path, 10) as writer:
        writer.write(make_embeddings(10))
        writer.finish()
    return tmp_path


def open_matrix(folder, **changes):
    keywords = {"num_rows": 10, "dim": 8, "dtype": "float32", "max_norm": 9.0}
    return EmbeddingMatrix.open(folder, **{**keywords, **changes})


def test_rows_and_chunks_cross_shard_borders(folder, make_embeddings):
    matrix = open_matrix(folder)
    expected = make_embeddings(10)
    assert matrix.num_rows == 10
    assert [path.name for path in matrix.paths] == [
        "embeddings-00000-of-00003.npy",
        "embeddings-00001-of-00003.npy",
        "embeddings-00002-of-00003.npy",
    ]
    ids = np.array([[9, 0, 4], [3, 3, 8]])
    np.testing.assert_array_equal(matrix.rows(ids), expected[ids])
    assert matrix.rows(np.empty((0, 2), np.int64)).shape == (0, 2, 8)
    chunks = list(matrix.chunks(3))
    assert [first for first, _ in chunks] == [0, 3, 4, 7, 8]
    np.testing.assert_array_equal(
        np.concatenate([rows for _, rows in chunks]), expected
    )


def test_from_array_reads_bfloat16_as_float32():
    matrix = EmbeddingMatrix.from_array(np.ones((2, 3), ml_dtypes.bfloat16))
    assert matrix.rows(np.array([1])).dtype == np.float32
    assert matrix.max_norm == pytest.approx(3**0.5)


def test_from_array_accepts_no_rows():
    matrix = EmbeddingMatrix.from_array(np.empty((0, 3), np.float32))
    assert (matrix.num_rows, matrix.dim, matrix.max_norm) == (0, 3, 0.0)
    assert list(matrix.chunks()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_from_array_refuses_rows_that_cannot_be_scored(bad):
    rows = np.ones((5, 3), np.float32)
    rows[3, 1] = bad
    with pytest.raises(ValueError, match=r"rows \[3\] are not"):
        EmbeddingMatrix.from_array(rows)


@pytest.mark.parametrize(
    "array", [np.ones((2, 3)), np.ones(3, np.float32), np.ones((2, 3), int)]
)
def test_from_array_refuses_other_shapes_and_types(array):
    with pytest.raises(ValueError, match="must be a float32 or bfloat16"):
        EmbeddingMatrix.from_array(array)


@pytest.mark.parametrize(
    "changes",
    [{"num_rows": 9}, {"dim": 128}, {"dtype": "bfloat16"}],
    ids=lambda changes: next(iter(changes)),
)
def test_open_refuses_a_shard_of_another_shape_or_type(folder, changes):
    with pytest.raises(FolderError, match="must hold an array.*Received: "):
        open_matrix(folder, **changes)


def test_i14_a_huge_number_of_rows_is_refused_without_allocating(folder):
    with pytest.raises(FolderError, match="No such file"):
        open_matrix(folder, num_rows=10**12)


def test_open_refuses_pickled_objects(folder):
    path = folder / "embeddings-00000-of-00003.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(FolderError, match="must hold an array"):
        open_matrix(folder)
