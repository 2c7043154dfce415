import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.export.bundle_parts import (
    check_updates,
    copy_corpus,
    copy_index,
    new_corpus_path,
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


def copy(out, index):
    def embed(blocks):
        raise AssertionError("nothing is to be embedded")

    return copy_index(out, index, embed)


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
    copied = Corpus.open(out / "corpus-2")
    assert copied.fingerprint == city_corpus.fingerprint
    assert copied[0] == city_corpus[0]


def test_index_is_copied_once_with_what_was_added(out, index):
    block = index.blocks([0])[0]
    index.add([block], vector(index, 1.0))
    assert [copy(out, index), copy(out, index)] == ["index"] * 2
    copied = BlockIndex.open(out / "index", index.corpus)
    assert (copied.version, copied.num_blocks) == (1, 3)
    assert copied.live_block_ids().tolist() == [1, 2, 3]
    index.delete(["london"])
    copy(out, index)
    newest = BlockIndex.open(out / "index", index.corpus)
    assert (newest.version, newest.num_blocks) == (2, 2)


def test_documents_added_to_the_bundle_are_not_lost(out, index):
    copy(out, index)
    BlockIndex.open(out / "index", index.corpus).delete(["london"])
    copy(out, index)
    assert BlockIndex.open(out / "index", index.corpus).num_blocks == 2
    index.delete(["paris"])
    with pytest.raises(FolderError, match="each updated in its own way"):
        copy(out, index)


def rebuild(index, name, **options):
    """An index of another embedder, of another width."""
    return BlockIndex.build(
        index.path.parent / name,
        index.corpus,
        [[[1.0, 2.0]] * index.corpus.num_blocks],
        embedder_fingerprint="x",
        **options,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_documents_added_to_the_bundle_are_embedded_again(out, index, dtype):
    copy(out, index)
    served = BlockIndex.open(out / "index", index.corpus)
    new = Block("Sofia is old.", title="Sofia", document_id="sofia")
    served.add([new], vector(index, 1.0))
    served.delete(["london"])
    embedded = []

    def embed(blocks):
        embedded.extend(block.text for block in blocks)
        return np.full((len(blocks), 2), 3.001, np.float32)

    rebuilt = rebuild(index, "again", dtype=dtype)
    copy_index(out, rebuilt, embed)
    copy_index(out, rebuilt, embed)
    assert embedded == ["Sofia is old."]
    newest = BlockIndex.open(out / "index", index.corpus)
    assert (newest.version, newest.embedder_fingerprint) == (2, "x")
    ids = newest.live_block_ids()
    names = [block.document_id for block in newest.blocks(ids)]
    assert names == ["paris", "rome", "sofia"]
    stored = newest.embeddings(ids)[-1].tolist()
    assert stored == (
        [3.0] * 2 if dtype == "bfloat16" else [np.float32(3.001)] * 2
    )


def test_documents_folded_into_the_bundle_are_not_lost(
    out, index, short_featurizer
):
    copy_corpus(out, index.corpus)
    copy(out, index)
    served = BlockIndex.open(out / "index", index.corpus)
    served.delete(["london"])
    assert new_corpus_path(out) == out / "corpus-2"
    folded = served.compact(out / "corpus-2", short_featurizer)
    for stale in (index, rebuild(index, "stale")):
        for refused in (check_updates, copy):
            with pytest.raises(FolderError, match="newest .* is of .*corpus-2"):
                refused(out, stale)
    copy(out, rebuild(folded, "again"))
    assert BlockIndex.open(out / "index", folded.corpus).version == 3
