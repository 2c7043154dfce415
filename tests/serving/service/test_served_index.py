import concurrent.futures
import gc
import shutil
import threading
import weakref

import numpy as np
import pytest

from realm_tf.data.corpus.documents import cut_documents
from realm_tf.errors import (
    FolderError,
    MismatchError,
    UnknownDocumentError,
    UnknownVersionError,
)
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.service import served_index
from realm_tf.serving.service.served_index import ServedIndex

DOCUMENT = {"id": "new", "title": "New", "text": "People were in Sofia."}


@pytest.fixture
def fingerprint(served_qa):
    return served_qa.embedder_fingerprint


@pytest.fixture
def served(bundle, fingerprint):
    served = ServedIndex(bundle / "index", bundle / "corpus")
    served.acquire(fingerprint)
    return served


@pytest.fixture
def document(served_qa):
    blocks = cut_documents([DOCUMENT], served_qa.featurizer)
    return blocks, served_qa.block_embedding.blocks(blocks)


def build_version(served, corpus, fingerprint, shift=0.0, **options):
    """Adds a version of an embedder of its own."""
    rows = np.eye(4, dtype=np.float32)[np.arange(corpus.num_blocks) % 4]
    return BlockIndex.build(
        served.index_path,
        corpus,
        rows + np.float32(shift),
        embedder_fingerprint=fingerprint,
        **options,
    ).version


def test_index_of_the_embedder_is_in_use(served, fingerprint):
    assert served.in_use is served.acquire(fingerprint)
    assert served.in_use.version == 1
    status = served.status()
    assert status["version"] == 1 and status["versions"] == [1]
    assert status["embedder_fingerprint"] == fingerprint
    assert 0 <= status["age_seconds"] < 3600


def test_nothing_is_in_use_before_the_first_question(bundle):
    served = ServedIndex(bundle / "index", bundle / "corpus")
    assert served.in_use is None and not served.refresh()
    with pytest.raises(FolderError, match="must be in use"):
        served.status()


def test_documents_of_another_process_are_seen_at_once(
    served, bundle, fingerprint, document
):
    other = ServedIndex(bundle / "index", bundle / "corpus")
    other.acquire(fingerprint)
    blocks, embeddings = document
    before = served.in_use.num_blocks
    other.add(blocks, embeddings, fingerprint)
    found = served.acquire(fingerprint).search(embeddings[:1], before + 1)
    assert before in found.block_ids
    other.delete(["new"])
    found = served.acquire(fingerprint).search(embeddings[:1], before + 1)
    assert before not in found.block_ids
    assert served.status()["num_blocks"] == before


def test_index_of_another_embedder_is_refused(served):
    with pytest.raises(MismatchError, match="embedder .* <- differs"):
        served.acquire("0" * 64)
    assert served.in_use.version == 1


def test_each_embedder_finds_its_index(served, city_corpus, fingerprint):
    build_version(served, city_corpus, "1" * 64)
    assert served.acquire(fingerprint).version == 1
    assert served.acquire("1" * 64).version == 2
    assert served.acquire(fingerprint).version == 1
    assert served.in_use.version == 1
    build_version(served, city_corpus, "2" * 64)
    assert served.acquire("2" * 64).version == 3
    assert served.acquire(fingerprint).version == 1  # opened again


def test_index_of_a_former_embedder_is_let_go(served, city_corpus, monkeypatch):
    """W8."""
    old = weakref.ref(served.in_use)
    build_version(served, city_corpus, "1" * 64)
    served.acquire("1" * 64)
    served.refresh()
    assert old() is not None  # the model server may still turn back
    monkeypatch.setattr(served_index, "_UNUSED_SECONDS", 0.0)
    served.refresh()
    gc.collect()
    assert old() is None and served.in_use.version == 2


def test_refresh_swaps_to_a_newer_version(served, fingerprint):
    assert not served.refresh()
    BlockIndex.roll_back(served.index_path, 1)
    assert served.refresh()
    assert served.in_use.version == 2


def test_held_version_outlives_its_folder_and_goes_with_its_reader(served):
    """W8, W9."""
    held = served.in_use
    old, folder = weakref.ref(held), str(held.folder)
    before = held.search(np.ones((1, 4)), 3)
    BlockIndex.roll_back(served.index_path, 1)
    served.refresh()
    shutil.rmtree(folder)
    after = held.search(np.ones((1, 4)), 3)
    np.testing.assert_array_equal(after.scores, before.scores)
    del held
    gc.collect()
    assert old() is None
    with open("/proc/self/maps") as maps:
        assert folder not in maps.read()


def test_changed_bytes_of_a_new_version_are_refused(served):
    """W10."""
    BlockIndex.roll_back(served.index_path, 1)
    folder = index_versions.version_folder(served.index_path, 2)
    file = next(folder.glob("embeddings-*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.unlink()  # it is a link
    file.write_bytes(data)
    with pytest.raises(FolderError, match=file.name):
        served.refresh()
    assert served.in_use.version == 1


def test_bad_version_is_refused_and_the_old_one_stays(served, city_corpus):
    """W10."""
    old = served.in_use
    BlockIndex.roll_back(served.index_path, 1)
    folder = index_versions.version_folder(served.index_path, 2)
    (folder / "excluded_block_ids.npy").unlink()
    with pytest.raises(FolderError, match="excluded_block_ids"):
        served.refresh()
    assert served.in_use is old and not served.refresh(retry=False)
    shutil.rmtree(folder)
    build_version(served, city_corpus, "3" * 64)
    with pytest.raises(MismatchError, match="embedder"):
        served.refresh()
    assert served.in_use is old


def test_roll_back_gives_the_same_answers(served, document, fingerprint):
    """W11."""
    query = np.ones((1, 4), np.float32)
    before = served.in_use.search(query, 20)
    BlockIndex.roll_back(served.index_path, 1)
    served.refresh()
    served.add(*document, fingerprint)
    assert served.in_use.num_blocks == before.block_ids.max() + 2
    index = served.roll_back(1)
    assert index.version == 3 and served.in_use is index
    after = index.search(query, 20)
    np.testing.assert_array_equal(after.block_ids, before.block_ids)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_roll_back_to_what_cannot_be_used_changes_nothing(
    served, city_corpus, fingerprint
):
    build_version(served, city_corpus, "4" * 64)
    with pytest.raises(MismatchError, match="embedder"):
        served.roll_back(2)
    with pytest.raises(
        UnknownVersionError, match=r"version=9.*versions=\[1, 2\]"
    ):
        served.roll_back(9)
    assert index_versions.list_versions(served.index_path) == [1, 2]


def test_documents_are_added_and_deleted(served, document, fingerprint):
    count = served.in_use.num_blocks
    assert served.add(*document, fingerprint).num_blocks == count + 1
    reopened = ServedIndex(served.index_path, served.corpus_path)
    assert reopened.acquire(fingerprint).num_blocks == count + 1
    assert served.delete(["new"]).num_blocks == count
    with pytest.raises(UnknownDocumentError, match="unknown"):
        served.delete(["new"])


def test_documents_of_another_embedder_are_refused(served, document):
    with pytest.raises(MismatchError, match="embedder"):
        served.add(*document, "0" * 64)


def test_documents_go_to_the_newest_version(served, document, fingerprint):
    BlockIndex.roll_back(served.index_path, 1)
    index = served.add(*document, fingerprint)
    assert index.version == 2 and served.in_use is index


def test_compacted_version_finds_its_corpus(served, document, served_qa):
    served.add(*document, served_qa.embedder_fingerprint)
    beside = served.corpus_path.with_name("corpus-2")
    served.compact(served_qa.featurizer)
    assert served.in_use.version == 2 and not served.refresh()
    assert served.in_use.corpus.path == beside
    assert served.status()["corpus"] == "corpus-2"
    shutil.rmtree(beside)
    lost = ServedIndex(served.index_path, served.corpus_path)
    with pytest.raises(MismatchError, match="must have its corpus in"):
        lost.acquire(served_qa.embedder_fingerprint)


def test_searches_go_on_while_versions_are_swapped(served, fingerprint):
    """W8, W9: 16 threads; blocks and vectors are always of one version."""
    stop = threading.Event()
    expected = served.in_use.search(np.ones((1, 4)), 3)
    texts = [b.text for b in served.in_use.blocks(expected.block_ids[0])]
    seen = set()

    def search():
        while not stop.wait(0.005):
            index = served.acquire(fingerprint)
            found = index.search(np.ones((1, 4)), 3)
            blocks = index.blocks(found.block_ids[0])
            assert [block.text for block in blocks] == texts
            seen.add(index.version)

    with concurrent.futures.ThreadPoolExecutor(16) as executor:
        searches = [executor.submit(search) for _ in range(16)]
        try:
            for _ in range(50):
                version = served.in_use.version
                BlockIndex.roll_back(served.index_path, version)
                assert served.refresh()
        finally:
            stop.set()
        for done in searches:
            done.result()
    assert served.in_use.version == 51 and len(seen) > 1
    assert len(index_versions.list_versions(served.index_path)) == 3


def test_a_version_without_words_does_not_replace_one_with_words(
    served, fingerprint
):
    assert served.status()["analyzer"] == "english"
    corpus = served.in_use.corpus
    build_version(served, corpus, fingerprint, analyzer=None)
    with pytest.raises(MismatchError, match="must have words"):
        served.refresh()
    assert served.in_use.version == 1
