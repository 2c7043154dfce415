import numpy as np
import pytest

from realm_tf.data.corpus import corpus_writer
from realm_tf.data.corpus.articles import SourceArticle
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_parts import PartTask, write_part
from realm_tf.data.corpus.corpus_writer import shard_name, write_corpus


@pytest.fixture
def write(featurizer, tmp_path):
    """Writes a corpus of parts, each given as its document ids."""

    def write(parts, dtype=np.uint16):
        paths = []
        num_blocks = 0
        for i, ids in enumerate(parts):
            sources = [
                SourceArticle(Article(name, "", "It is."), f"file {i}", line)
                for line, name in enumerate(ids, 1)
            ]
            paths.append(tmp_path / f"{i}.npz")
            num_blocks += len(ids)
            write_part(PartTask(paths[-1], sources), featurizer, 32)
        counts = {"num_blocks": num_blocks, "num_documents": num_blocks}
        write_corpus(
            tmp_path / "corpus",
            paths,
            token_dtype=dtype,
            counts=counts,
            fingerprints={},
            options={},
        )
        return tmp_path / "corpus"

    return write


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_parts_are_joined_in_order(write, dtype):
    folder = write([["a", "b"], ["c"]], dtype)
    tokens = np.load(folder / "token_ids.npy")
    assert tokens.dtype == dtype
    assert tokens.tolist() == tokens[:3].tolist() * 3
    assert np.load(folder / "row_splits.npy").tolist() == [0, 3, 6, 9]
    assert np.load(folder / "title_row_splits.npy").tolist() == [0] * 4
    documents = np.load(folder / "documents.npy")
    assert documents.dtype == np.uint64
    assert sorted(documents[1].tolist()) == [0, 1, 2]


def test_blocks_are_spread_over_shards(write, monkeypatch):
    monkeypatch.setattr(corpus_writer, "BLOCKS_PER_SHARD", 2)
    folder = write([["a", "b", "c"], ["d", "e"]])
    names = sorted(path.name for path in folder.glob("blocks-*"))
    assert names == [shard_name(i, 5) for i in range(3)]
    assert names[0] == "blocks-00000-of-00003.array_record"


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([["a", "b", "a"]], "'a' in file 0, line 1, and in file 0, line 3"),
        ([["x", "a"], ["b", "a"]], "'a' in file 0, line 2, and in file 1, li"),
    ],
)
def test_repeated_document_id_is_refused(write, tmp_path, parts, match):
    with pytest.raises(ValueError, match=match):
        write(parts)
    assert not (tmp_path / "corpus").exists()


def test_equal_hashes_of_different_ids_are_allowed(write, monkeypatch):
    monkeypatch.setattr(
        "realm_tf.data.corpus.corpus_parts.hash_document_id", lambda _: 7
    )
    documents = np.load(write([["a"], ["b"]]) / "documents.npy")
    assert documents.tolist() == [[7, 7], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("message", "error"),
    [("write() failed: No space left on device", OSError), ("x", RuntimeError)],
)
def test_full_disk_of_array_record_is_an_os_error(
    write, monkeypatch, tmp_path, message, error
):
    def fail(*args):
        raise RuntimeError(message)

    monkeypatch.setattr(corpus_writer, "_write_blocks", fail)
    with pytest.raises(error):
        write([["a"]])
    assert not (tmp_path / "corpus").exists()
