import gc
import shutil
import threading
import weakref

import numpy as np
import pytest

from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index.live_index import LiveIndex


@pytest.fixture
def make_version(build_index, corpus):
    """Version whose vectors and block 0 score tell its number."""

    def make(number):
        rows = np.ones((corpus.num_blocks, 4), np.float32)
        rows[:, 0] = number
        return build_index(rows=rows)

    return make


def test_reload_swaps_to_a_newer_version_only(make_version):
    live = LiveIndex(make_version(1))
    assert not live.reload()
    assert live.acquire().version == 1
    make_version(2)
    assert live.reload()
    assert live.acquire().version == 2


def test_w08_readers_see_whole_versions_while_they_are_swapped(make_version):
    live = LiveIndex(make_version(1))
    stop = threading.Event()
    errors = []
    seen = set()

    def read():
        try:
            while not stop.is_set():
                index = live.acquire()
                result = index.search([[1.0, 0, 0, 0]], 20)
                rows = index.embeddings(result.block_ids[0])
                assert (result.scores == result.scores[0, 0]).all()
                assert (rows[:, 0] == result.scores[0]).all()
                assert result.scores[0, 0] == index.version
                seen.add(index.version)
                stop.wait(0.005)  # leaves time for the writer
        except BaseException as error:  # reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for number in range(2, 52):
        make_version(number)
        assert live.reload()
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(seen) > 1


def test_w08_an_old_index_is_released_with_its_last_reader(make_version):
    live = LiveIndex(make_version(1))
    held = live.acquire()
    old, folder = weakref.ref(held), str(held.folder)
    make_version(2)
    live.reload()
    assert held.search([[1.0, 0, 0, 0]], 1).scores[0, 0] == 1
    del held
    gc.collect()
    assert old() is None
    with open("/proc/self/maps") as maps:
        assert folder not in maps.read()


def test_w09_a_held_version_outlives_its_folder(make_version):
    live = LiveIndex(make_version(1))
    held = live.acquire()
    make_version(2)
    live.reload()
    shutil.rmtree(held.folder)
    assert held.search([[1.0, 0, 0, 0]], 1).scores[0, 0] == 1
    assert held.embeddings(np.array([3]))[0, 0] == 1


def test_w10_a_damaged_version_is_refused_and_the_old_stays(make_version):
    live = LiveIndex(make_version(1))
    bad = make_version(2)
    file = next(bad.folder.glob("embeddings-*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(FolderError, match=file.name):
        live.reload()
    assert live.acquire().version == 1


def test_w10_another_corpus_or_embedder_is_refused(
    make_version, build_index, make_corpus
):
    live = LiveIndex(make_version(1))
    build_index(embedder_fingerprint="embedder-b", rows=np.ones((20, 4)))
    with pytest.raises(MismatchError, match="embedder-b"):
        live.reload(embedder_fingerprint="embedder-a")
    other = make_corpus(20, fingerprint="corpus-b")
    build_index(other, np.ones((20, 4)))
    with pytest.raises(MismatchError, match="corpus-b"):
        live.reload()
    assert live.acquire().version == 1
    assert live.reload(other)
    assert live.acquire().corpus is other


def test_w10_another_width_is_refused(make_version, build_index):
    live = LiveIndex(make_version(1))
    with pytest.raises(MismatchError, match="embedding_dim=5, in use: 4"):
        live.swap(build_index(rows=np.ones((20, 5))))
    assert live.acquire().version == 1
