import ml_dtypes
import numpy as np
import pytest

from realm_tf.retrieval.searchers import embedding_matrix
from realm_tf.retrieval.searchers.embedding_writer import EmbeddingWriter


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_chunks_of_any_size_give_the_same_files(
    tmp_path, monkeypatch, make_embeddings, chunk
):
    monkeypatch.setattr(embedding_matrix, "ROWS_PER_SHARD", 4)
    rows = make_embeddings(10)
    with EmbeddingWriter(tmp_path, 10) as writer:
        for start in range(0, 10, chunk):
            writer.write(rows[start : start + chunk])
        matrix = writer.finish()
    assert len(matrix.paths) == 3
    np.testing.assert_array_equal(matrix.rows(np.arange(10)), rows)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert matrix.max_norm == pytest.approx(norms.max(), rel=1e-12)


def test_bfloat16_halves_the_files_and_rounds(tmp_path, make_embeddings):
    rows = make_embeddings(500)
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        folder = tmp_path / dtype
        folder.mkdir()
        with EmbeddingWriter(folder, 500, dtype=dtype) as writer:
            writer.write(rows)
            matrix = writer.finish()
        sizes[dtype] = matrix.paths[0].stat().st_size - 128  # header
    assert sizes["bfloat16"] * 2 == sizes["float32"]
    rounded = rows.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(matrix.rows(np.arange(500)), rounded)


def test_files_are_plain_npy(tmp_path, make_embeddings):
    with EmbeddingWriter(tmp_path, 3) as writer:
        writer.write(make_embeddings(3))
        path = writer.finish().paths[0]
    np.testing.assert_array_equal(np.load(path), make_embeddings(3))


def test_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one of .*Received: dtype='int8'"):
        EmbeddingWriter(tmp_path, 1, dtype="int8")


def test_i05_another_number_of_rows_is_refused(tmp_path, make_embeddings):
    with EmbeddingWriter(tmp_path, 5) as writer:
        writer.write(make_embeddings(4))
        with pytest.raises(ValueError, match="the 5 blocks.*Received: 4 rows"):
            writer.finish()
        with pytest.raises(ValueError, match="5 blocks.*at least 6 rows"):
            writer.write(make_embeddings(2))


def test_i04_a_change_of_width_is_refused(tmp_path, make_embeddings):
    with EmbeddingWriter(tmp_path, 5) as writer:
        writer.write(make_embeddings(2, dim=8))
        with pytest.raises(ValueError, match=r"\(rows, 8\).*shape=\(2, 128\)"):
            writer.write(make_embeddings(2, dim=128))


def test_nothing_written_is_refused_even_for_no_blocks(tmp_path):
    with EmbeddingWriter(tmp_path, 0) as writer:
        with pytest.raises(ValueError, match="Received: 0 rows"):
            writer.finish()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38, 0.0])
def test_i18_bad_rows_are_refused_by_block_id(tmp_path, make_embeddings, bad):
    rows = make_embeddings(20)
    rows[[7, 13]] = bad
    with EmbeddingWriter(tmp_path, 20) as writer:
        writer.write(rows[:5])
        with pytest.raises(ValueError, match=r"blocks \[7, 13\].*skip_bad"):
            writer.write(rows[5:])


def test_i18_many_bad_rows_are_counted(tmp_path):
    with EmbeddingWriter(tmp_path, 20) as writer:
        with pytest.raises(ValueError, match=r"9\] and 10 more"):
            writer.write(np.zeros((20, 4), np.float32))


def test_i18_skip_bad_stores_zeros_and_remembers(tmp_path, make_embeddings):
    rows = make_embeddings(20)
    rows[7] = np.nan
    with EmbeddingWriter(tmp_path, 20, skip_bad=True) as writer:
        writer.write(rows[:5])
        writer.write(rows[5:])
        matrix = writer.finish()
    assert writer.bad_rows == [7]
    assert not matrix.rows(np.array([7])).any()
    assert np.isnan(rows[7]).all()  # the caller's array is left alone
