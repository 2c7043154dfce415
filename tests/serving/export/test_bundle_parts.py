import pytest

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.export.bundle_parts import (
    copy_corpus,
    copy_index,
    write_vocabulary,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def index(make_qa, cities, tmp_path):
    qa = make_qa()
    return qa.build_index(cities[:3], tmp_path / "index")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def vector(index, value):
    return [[value] * index.embedding_dim]


def test_another_vocabulary_gets_another_name(out):
    first, second = Featurizer([*WORDS, "a"]), Featurizer([*WORDS, "b"])
    names = [write_vocabulary(out, f) for f in (first, second, first, second)]
    assert names == ["vocabulary.txt", "vocabulary-2.txt"] * 2
    read = Featurizer.from_file(out / names[1])
    assert read.fingerprint == second.fingerprint


def test_another_corpus_gets_another_name(out, city_corpus, index):
    names = [copy_corpus(out, c) for c in (index.corpus, city_corpus) * 2]
    assert names == ["corpus", "corpus-2"] * 2
    copy = Corpus.open(out / "corpus-2")
    assert copy.fingerprint == city_corpus.fingerprint
    assert copy[0] == city_corpus[0]


def test_index_is_copied_once_with_what_was_added(out, index):
    block = index.blocks([0])[0]
    index.add([block], vector(index, 1.0))
    assert [copy_index(out, index), copy_index(out, index)] == ["index"] * 2
    copy = BlockIndex.open(out / "index", index.corpus)
    assert (copy.version, copy.num_blocks) == (1, 3)
    assert copy.live_block_ids().tolist() == [1, 2, 3]
    index.delete(["london"])
    copy_index(out, index)
    newest = BlockIndex.open(out / "index", index.corpus)
    assert (newest.version, newest.num_blocks) == (2, 2)


def test_documents_added_to_the_bundle_are_not_lost(out, index):
    copy_index(out, index)
    copy = BlockIndex.open(out / "index", index.corpus)
    copy.delete(["london"])
    copy_index(out, index)
    assert BlockIndex.open(out / "index", index.corpus).num_blocks == 2
    index.delete(["paris"])
    with pytest.raises(FolderError, match="each updated in its own way"):
        copy_index(out, index)
    rebuilt = BlockIndex.build(
        index.path.parent / "again",
        index.corpus,
        [[[1.0, 2.0, 3.0, 4.0]] * 3],
        embedder_fingerprint="x",
    )
    with pytest.raises(FolderError, match="must not lose documents"):
        copy_index(out, rebuilt)
