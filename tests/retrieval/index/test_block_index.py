import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from realm_tf import _files
from realm_tf._files import writer_lock
from realm_tf.errors import (
    FolderError,
    LockedError,
    MismatchError,
    UnknownDocumentError,
)
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index import block_index, index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.searchers.searcher import exact_scores


def reopen(index, **keywords):
    return BlockIndex.open(index.path, index.corpus, **keywords)


def expected(embeddings, query, k):
    """Best ids of a dict from block id to embedding."""
    ids = np.array(sorted(embeddings))
    rows = np.stack([embeddings[i] for i in ids.tolist()]).astype(np.float32)
    scores = exact_scores(query.astype(np.float32), rows)
    order = np.argsort(-scores, kind="stable")[:k]
    return scores[order], ids[order]


def test_search_blocks_and_embeddings_belong_together(
    build_index, make_embeddings
):
    rows = make_embeddings(20)
    index = build_index(rows=rows)
    result = index.search(rows[:3], 4)
    scores, ids = expected(dict(enumerate(rows)), rows[1], 4)
    np.testing.assert_array_equal(result.block_ids[1], ids)
    np.testing.assert_array_equal(result.scores[1], scores)
    blocks = index.blocks(result.block_ids[1])
    assert [block.block_id for block in blocks] == ids.tolist()
    np.testing.assert_array_equal(
        index.embeddings(result.block_ids), rows[result.block_ids]
    )
    assert (index.num_blocks, index.embedding_dim) == (20, 8)
    assert index.embedder_fingerprint == "embedder-a"
    assert len(index.fingerprint) == 64


def test_missing_blocks_have_zero_embeddings_and_no_text(build_index):
    index = build_index()
    assert not index.embeddings(np.array([-1])).any()
    with pytest.raises(IndexError, match=r"\[0, 20\). Received: \[-1, 20\]"):
        index.blocks([3, -1, 20])
    with pytest.raises(IndexError, match=r"\[-1, 20\). Received: \[-2, 20\]"):
        index.embeddings(np.array([-1, -2, 0, 20]))


def test_exact_search_passes_the_fast_one_by(build_index, make_embeddings):
    rows = make_embeddings(20)
    index = build_index(rows=rows)
    found = index.search(rows[:3], 4)
    index._searcher = None
    exact = index.search(rows[:3], 4, exact=True)
    np.testing.assert_array_equal(exact.block_ids, found.block_ids)


def test_search_refuses_another_width(build_index):
    with pytest.raises(ValueError, match=r"\(batch, 8\)"):
        build_index().search(np.ones((1, 128)), 1)


def test_a_new_version_is_opened_by_default_and_old_ones_by_number(
    build_index, make_embeddings
):
    first = build_index()
    second = build_index(rows=make_embeddings(20, seed=1))
    assert (first.version, second.version) == (1, 2)
    assert reopen(first).version == 2
    assert reopen(first, version=1).fingerprint == first.fingerprint
    with pytest.raises(FolderError, match=r"version=3.*versions=\[1, 2\]"):
        reopen(first, version=3)


@pytest.mark.parametrize("searcher", ["brute_force", "scann"])
def test_i23_search_after_add_replace_and_delete(
    build_index, make_corpus, make_blocks, make_embeddings, searcher
):
    rows = make_embeddings(200)
    index = build_index(
        make_corpus(200),
        rows,
        searcher=searcher,
        scann=ScannOptions(num_leaves=4, leaves_to_search=4),
    )
    alive = dict(enumerate(rows))
    new = make_embeddings(4, seed=1)

    assert index.add(make_blocks("new", 2), new[:2]).tolist() == [200, 201]
    alive |= {200: new[0], 201: new[1]}
    index.add(make_blocks("doc-7"), new[2:3])  # replaces blocks 14 and 15
    alive[202] = new[2]
    del alive[14], alive[15]
    index.delete(["doc-0", "new"])
    for block_id in (0, 1, 200, 201):
        del alive[block_id]
    with pytest.raises(UnknownDocumentError):
        index.delete(["new"])
    index.add(make_blocks("new"), new[3:])
    alive[203] = new[3]

    for opened in (index, reopen(index)):
        assert opened.num_blocks == len(alive)
        queries = np.concatenate([rows[[0, 14, 50]], new])
        for k in (1, 10, 250):
            result = opened.search(queries, k)
            for number, query in enumerate(queries):
                scores, ids = expected(alive, query, k)
                found = result.block_ids[number]
                np.testing.assert_array_equal(found[: len(ids)], ids)
                np.testing.assert_array_equal(
                    result.scores[number, : len(ids)], scores
                )
                assert (found[len(ids) :] == -1).all()
        # Deleted blocks can still be looked up: a search may have found them.
        blocks = opened.blocks([200, 14, 203])
        assert [block.block_id for block in blocks] == [200, 14, 203]
        assert [b.document_id for b in blocks] == ["new", "doc-7", "new"]
        np.testing.assert_array_equal(
            opened.embeddings(np.array([202, 5])), [new[2], rows[5]]
        )


def test_updates_of_another_process_are_not_overwritten(
    build_index, make_blocks, make_embeddings
):
    ours = build_index()
    theirs = reopen(ours)
    theirs.add(make_blocks("a"), make_embeddings(1))
    assert ours.add(make_blocks("b"), make_embeddings(1)).tolist() == [21]
    documents = [block.document_id for block in reopen(ours).blocks([20, 21])]
    assert documents == ["a", "b"]


def test_an_open_index_sees_what_another_process_adds_and_deletes(
    build_index, start_child, make_embeddings
):
    index = build_index()
    queries = make_embeddings(1)
    assert (index.search(queries, 30).block_ids[0] >= 0).sum() == 20
    with start_child(UPDATE, index.path) as child:
        assert child.wait() == 0
    found = index.search(queries, 30).block_ids[0]
    assert sorted(found[found >= 0].tolist()) == [*range(2, 21)]
    assert index.num_blocks == 19
    assert index.live_block_ids().tolist() == [*range(2, 21)]
    assert index.blocks([20])[0].document_id == "new"
    assert index.embeddings(np.array([20])).any()
    with pytest.raises(ValueError, match="added or deleted since"):
        index.whole_corpus()


def test_updates_of_another_index_are_refused(
    build_index, tmp_path, make_blocks, make_embeddings
):
    index = build_index()
    other = build_index(
        rows=make_embeddings(20, seed=1), path=tmp_path / "other"
    )
    other.add(make_blocks("a"), make_embeddings(1))
    shutil.copy(other.path / "v000001.updates", index.path)
    with pytest.raises(MismatchError, match="v000001.updates must hold"):
        reopen(index)


@pytest.mark.parametrize("size", [0, None])
def test_embeddings_that_are_written_into_are_refused(
    build_index, make_embeddings, monkeypatch, size
):
    """Where they stay on the disk, this ended the process: SIGBUS."""
    monkeypatch.setattr(_files, "_SMALL_BYTES", 0)
    index = build_index()
    [file] = index.folder.glob("embeddings-*.npy")
    data = file.read_bytes()
    os.utime(file, (0, 0))  # clocks of disks are coarse
    file.write_bytes(data[:size])
    for use in (
        lambda: index.search(make_embeddings(1), 3),
        lambda: index.embeddings(np.array([1])),
    ):
        with pytest.raises(FolderError, match="must not be changed while"):
            use()


def test_a_pipe_in_place_of_updates_is_refused_at_once(build_index):
    index = build_index()
    (index.path / "v000001.updates").unlink()
    os.mkfifo(index.path / "v000001.updates")
    with pytest.raises(FolderError, match="must be a regular file"):
        reopen(index)


def test_only_the_newest_version_can_be_updated(
    build_index, make_blocks, make_embeddings
):
    old = build_index()
    build_index()
    with pytest.raises(LockedError, match="version=1, newest=2"):
        old.add(make_blocks("a"), make_embeddings(1))
    with pytest.raises(LockedError, match="version=1, newest=2"):
        old.delete(["doc-0"])


def test_a_new_version_does_not_lose_updates(
    build_index, make_corpus, make_blocks, make_embeddings
):
    index = build_index()
    index.add(make_blocks("a"), make_embeddings(1))
    with pytest.raises(FolderError, match="v000001 with updates.*compact"):
        build_index()
    # They belong to the old corpus, so a new one has no use for them.
    assert build_index(make_corpus(20, "corpus-b")).version == 2


def test_the_corpus_is_whole_without_updates(
    build_index, make_blocks, make_embeddings
):
    index = build_index()
    assert index.whole_corpus() is index.corpus
    index.delete(["doc-0"])
    with pytest.raises(ValueError, match="added or deleted since"):
        index.whole_corpus()


def test_a_damaged_version_can_be_built_anew(build_index):
    index = build_index()
    (index.folder / "manifest.json").write_text("{")
    assert build_index().version == 2


def test_w04_build_and_update_while_another_writes_are_refused(
    build_index, make_blocks, make_embeddings, monkeypatch
):
    index = build_index()
    monkeypatch.setattr(block_index, "_UPDATE_TIMEOUT_SECONDS", 0.05)
    with writer_lock(index.path):
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
            build_index()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
            index.add(make_blocks("a"), make_embeddings(1))
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
            index.delete(["doc-0"])
    assert index.num_blocks == reopen(index).num_blocks == 20


def test_many_threads_update_and_search(
    build_index, make_blocks, make_embeddings
):
    index = build_index()
    rows = make_embeddings(40, seed=1)
    errors = []

    def work(number):
        try:
            for step in range(10):
                name = f"thread-{number}"
                index.add(make_blocks(name, 2), rows[[step, step + 10]])
                result = index.search(rows[:2], 30)
                found = result.block_ids[result.block_ids >= 0]
                own = [b for b in index.blocks(found) if b.document_id == name]
                assert len(own) == 4  # two blocks, found by two queries
        except BaseException as error:  # reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert index.num_blocks == reopen(index).num_blocks == 20 + 4 * 2


def test_w03_a_folder_that_cannot_be_written_keeps_serving(
    build_index, make_blocks, make_embeddings, monkeypatch
):
    index = build_index()

    def refuse(*args, **keywords):
        raise PermissionError(13, "Permission denied")

    # Root may write to read-only folders, so the mode does not help here.
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError):
            index.add(make_blocks("a"), make_embeddings(1))
        with pytest.raises(PermissionError):
            build_index()
        assert (index.search(np.ones((1, 8)), 3).block_ids >= 0).all()
    assert reopen(index).num_blocks == 20


def test_w11_roll_back_gives_the_old_answers(
    build_index, make_corpus, make_blocks, make_embeddings
):
    old = build_index()
    old.add(make_blocks("a"), 10 * make_embeddings(1))
    queries = make_embeddings(5, seed=2)
    answers = old.search(queries, 5)
    # Another corpus, or the updates would have to be kept.
    rows = make_embeddings(20, seed=1)
    assert build_index(make_corpus(20, "corpus-b"), rows).version == 2
    assert BlockIndex.roll_back(old.path, 1) == 3
    back = reopen(old)
    assert back.version == 3
    again = back.search(queries, 5)
    np.testing.assert_array_equal(again.block_ids, answers.block_ids)
    np.testing.assert_array_equal(again.scores, answers.scores)
    back.add(make_blocks("b"), make_embeddings(1))  # leaves version 1 alone
    assert reopen(old, version=1).num_blocks == 21


# Child processes that build versions of the index that build_index() made.
BUILD = """
import os, resource, signal, sys
import numpy as np
from tests_retrieval_conftest import FakeCorpus
from realm_tf.retrieval.index.block_index import BlockIndex
corpus = FakeCorpus(20)
rows = np.random.default_rng(0).standard_normal((20, 4))
def build():
    return BlockIndex.build(
        sys.argv[1], corpus, [rows[:10], rows[10:]], embedder_fingerprint="e"
    )
"""
UPDATE = """
import sys
import numpy as np
from tests_retrieval_conftest import FakeCorpus
from realm_tf.data.corpus.blocks import Block
from realm_tf.retrieval.index.block_index import BlockIndex
index = BlockIndex.open(sys.argv[1], FakeCorpus(20))
index.add([Block("text", document_id="new")], np.ones((1, 8)))
index.delete(["doc-0"])
"""
BUILD_FOREVER = (
    BUILD
    + """
done = 0
def count(function):
    def counted(*args, **keywords):
        global done
        done += 1
        if f"{done}" == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **keywords)
    return counted
for name in ("open", "fsync", "mkdir", "rename", "unlink", "rmdir"):
    setattr(os, name, count(getattr(os, name)))
print("begin", flush=True)
while True:
    build()
"""
)
FILL_DISK = (
    BUILD
    + """
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    build()
except OSError as error:
    print(error)
else:
    sys.exit(7)
"""
)


@pytest.fixture
def start_child(tmp_path):
    """Starts a program that can import this folder's conftest."""
    conftest = os.path.join(os.path.dirname(__file__), "../conftest.py")
    modules = tmp_path / "modules"
    modules.mkdir()
    os.symlink(conftest, modules / "tests_retrieval_conftest.py")

    def start(code, *arguments, **environment):
        paths = [str(modules), *sys.path]
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                **environment,
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def check_after_kill(index, build_index):
    versions = index_versions.list_versions(index.path)
    assert versions
    for version in versions:  # whatever is there, is whole
        assert reopen(index, version=version).num_blocks == 20
    new = build_index()
    assert new.version > versions[-1]
    hidden = [n for n in os.listdir(index.path) if n.startswith(".v")]
    assert hidden == []
    folders = [p for p in index.path.iterdir() if p.is_dir()]
    assert len(folders) == min(3, len(versions) + 1)


# A build makes 16 of the counted calls, of which the 14th is the rename that
# publishes it. The third build begins to remove old versions.
@pytest.mark.parametrize("step", [1, 4, 8, 13, 14, 15, 16, 50, 52, 54])
def test_w01_killed_at_a_named_step(build_index, start_child, step):
    index = build_index()
    with start_child(BUILD_FOREVER, index.path, KILL_AT=str(step)) as child:
        assert child.wait() == -9
    check_after_kill(index, build_index)


@pytest.mark.large
@pytest.mark.parametrize("step", range(1, 71))
def test_w01_killed_at_every_step(build_index, start_child, step):
    index = build_index()
    with start_child(BUILD_FOREVER, index.path, KILL_AT=str(step)) as child:
        assert child.wait() == -9
    check_after_kill(index, build_index)


@pytest.mark.large
@pytest.mark.parametrize("number", range(20))
def test_w01_killed_at_twenty_random_moments(build_index, start_child, number):
    index = build_index()
    delay = np.random.default_rng(number).uniform(0.0, 0.5)
    with start_child(BUILD_FOREVER, index.path) as child:
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
    check_after_kill(index, build_index)


# Embeddings have 448 bytes; the manifest has about 700.
@pytest.mark.parametrize("limit", [100, 300, 600])
def test_w02_a_full_disk_leaves_the_old_version_and_no_rest(
    build_index, start_child, limit
):
    index = build_index()
    before = sorted(os.listdir(index.path))
    with start_child(FILL_DISK, index.path, limit) as child:
        message = child.stdout.read()
        assert child.wait() == 0
    assert "v000002 does not fit on the disk" in message
    assert "bytes are free" in message
    assert sorted(os.listdir(index.path)) == before
    assert reopen(index).version == 1


def test_live_block_ids_are_those_that_can_be_found(
    build_index, make_embeddings
):
    index = build_index(rows=make_embeddings(20))
    assert index.live_block_ids().tolist() == list(range(20))
    index.add(index.blocks([1]), make_embeddings(1))  # replaces blocks 0 and 1
    live = index.live_block_ids()
    assert live.tolist() == list(range(2, 21))
    found = index.search(make_embeddings(1), 30).block_ids[0]
    assert sorted(found[found >= 0]) == live.tolist()
