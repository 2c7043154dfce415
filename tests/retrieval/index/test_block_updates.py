import dataclasses
import errno
import os

import numpy as np
import pytest

from realm_tf.errors import FolderError, UnknownDocumentError
from realm_tf.retrieval.index import block_updates
from realm_tf.retrieval.index.block_updates import BlockUpdates, embed_again
from realm_tf.retrieval.index.journal import Journal
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix

VERSION = "ab" * 32


@pytest.fixture
def open_updates(tmp_path, corpus):
    path = tmp_path / "updates"
    Journal.create(path, VERSION)
    return lambda dtype="float32": BlockUpdates(
        path, corpus, dim=8, dtype=dtype, belongs_to=VERSION
    )


def test_new_updates_are_empty(open_updates):
    updates = open_updates()
    assert updates.is_empty
    assert updates.snapshot.matrix.num_rows == 0
    assert updates.snapshot.first_id == 20


def test_added_blocks_follow_the_corpus(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    rows = make_embeddings(3)
    assert updates.add(make_blocks("a", 2), rows[:2]).tolist() == [20, 21]
    assert updates.add(make_blocks("b"), rows[2:]).tolist() == [22]
    assert not updates.is_empty
    assert [block.block_id for block in updates.blocks] == [20, 21, 22]
    assert [block.document_id for block in updates.blocks] == ["a", "a", "b"]
    matrix = updates.snapshot.matrix
    np.testing.assert_array_equal(matrix.rows(np.arange(3)), rows)
    assert matrix.max_norm == pytest.approx(
        np.linalg.norm(rows, axis=1).max(), rel=1e-6
    )


def test_documents_exist_until_they_are_deleted(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    updates.add(make_blocks("a"), make_embeddings(1))
    names = ("a", "doc-3", "doc-10")
    assert [updates.has_document(n) for n in names] == [True, True, False]
    updates.delete(["a", "doc-3"])
    assert not any(updates.has_document(name) for name in names)


def test_i23_add_delete_add_again(open_updates, make_blocks, make_embeddings):
    updates = open_updates()
    updates.add(make_blocks("a", 2), make_embeddings(2))
    updates.delete(["a"])
    assert updates.snapshot.deleted_rows.tolist() == [0, 1]
    with pytest.raises(UnknownDocumentError, match="unknown \\['a'\\], 1 of 1"):
        updates.delete(["a"])
    assert updates.add(make_blocks("a"), make_embeddings(1)).tolist() == [22]
    assert updates.snapshot.deleted.tolist() == [20, 21]


def test_i23_adding_an_existing_document_replaces_it(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    updates.add(make_blocks("doc-3", 3), make_embeddings(3))  # blocks 6, 7
    assert updates.snapshot.deleted.tolist() == [6, 7]
    updates.add(make_blocks("doc-3"), make_embeddings(1))
    assert updates.snapshot.deleted.tolist() == [6, 7, 20, 21, 22]
    assert updates.snapshot.deleted_from_corpus.tolist() == [6, 7]


def test_i23_deleting_an_unknown_document_changes_nothing(open_updates):
    updates = open_updates()
    with pytest.raises(KeyError) as error:
        updates.delete(["doc-1", "nobody"])
    assert "Received: unknown ['nobody'], 1 of 2. Nothing" in str(error.value)
    assert updates.is_empty
    assert open_updates().is_empty


def test_i23_updates_survive_a_restart(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    updates.add(make_blocks("a", 2), make_embeddings(2))
    updates.delete(["doc-0", "doc-2"])
    updates.add(make_blocks("a"), make_embeddings(1, seed=1))
    again = open_updates()
    assert list(again.blocks) == list(updates.blocks)
    np.testing.assert_array_equal(
        again.snapshot.deleted, updates.snapshot.deleted
    )
    np.testing.assert_array_equal(
        again.snapshot.matrix.rows(np.arange(3)),
        updates.snapshot.matrix.rows(np.arange(3)),
    )
    again.delete(["a"])  # knows which document the blocks belong to
    assert again.snapshot.deleted.tolist() == [0, 1, 4, 5, 20, 21, 22]


def test_catch_up_applies_what_another_wrote(
    open_updates, make_blocks, make_embeddings
):
    reader, writer = open_updates(), open_updates()
    writer.add(make_blocks("a"), make_embeddings(1))
    assert reader.is_empty
    reader.catch_up()
    assert reader.blocks[0].document_id == "a"


def test_follow_sees_what_another_wrote(
    open_updates, make_blocks, make_embeddings
):
    reader, writer = open_updates(), open_updates()
    before = reader.follow()
    assert reader.follow() is before
    writer.add(make_blocks("a"), make_embeddings(1))
    writer.delete(["doc-1"])
    assert reader.follow().deleted.tolist() == [2, 3]
    assert reader.blocks[0].document_id == "a"


def test_follow_does_not_wait_for_an_update_that_is_being_written(
    open_updates, make_blocks, make_embeddings
):
    reader, writer = open_updates(), open_updates()
    writer.add(make_blocks("a"), make_embeddings(1))
    with reader._lock:
        assert reader.follow().matrix.num_rows == 0
    assert reader.follow().matrix.num_rows == 1


@pytest.mark.parametrize(
    "place",
    [
        (os, "pwrite"),
        (os, "fsync"),
        (block_updates, "_decode"),
        (block_updates, "row_norms"),
        (block_updates, "_insert"),
        (BlockUpdates, "_grown"),
        (BlockUpdates, "_apply"),
    ],
)
@pytest.mark.parametrize("calls", [1, 2])
def test_an_interrupt_leaves_memory_as_the_disk_is(
    open_updates, make_blocks, make_embeddings, monkeypatch, place, calls
):
    updates = open_updates()
    rows = make_embeddings(4)
    updates.add(make_blocks("a", 2), rows[:2])
    owner, name = place
    function, seen = getattr(owner, name), []

    def interrupted(*arguments):
        seen.append(1)
        if len(seen) == calls:
            raise KeyboardInterrupt
        return function(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            while True:
                updates.add(make_blocks("a"), rows[2:3])
    updates.follow()
    check_alike(updates, open_updates())
    updates.delete(["a"])
    updates.add(make_blocks("b"), rows[3:])
    check_alike(updates, open_updates())


def check_alike(updates, others):
    one, other = updates.snapshot, others.snapshot
    assert list(updates.blocks) == list(others.blocks)
    np.testing.assert_array_equal(one.deleted, other.deleted)
    every = np.arange(other.matrix.num_rows)
    np.testing.assert_array_equal(
        one.matrix.rows(every), other.matrix.rows(every)
    )


@pytest.mark.parametrize("number", [1, 2])
def test_a_failing_disk_leaves_memory_as_the_disk_is(
    open_updates, make_blocks, make_embeddings, monkeypatch, number
):
    updates = open_updates()
    updates.add(make_blocks("a"), make_embeddings(1))
    fsync, calls = os.fsync, []

    def failing(descriptor):
        calls.append(1)
        if len(calls) == number:
            raise OSError(errno.EIO, "broken")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="updates"):
            updates.add(make_blocks("b"), make_embeddings(1, seed=1))
    updates.follow()
    check_alike(updates, open_updates())
    updates.add(make_blocks("b"), make_embeddings(1, seed=1))
    check_alike(updates, open_updates())
    assert "a" in {block.document_id for block in updates.blocks}


def test_a_snapshot_never_changes(open_updates, make_blocks, make_embeddings):
    updates = open_updates()
    updates.add(make_blocks("a"), make_embeddings(1))
    snapshot = updates.snapshot
    rows = snapshot.matrix.rows(np.arange(1))
    for number in range(20):
        updates.add(make_blocks("a"), make_embeddings(1, seed=number + 1))
    assert snapshot.matrix.num_rows == 1
    assert snapshot.deleted.tolist() == []
    np.testing.assert_array_equal(snapshot.matrix.rows(np.arange(1)), rows)


def test_embeddings_are_rounded_as_in_the_index(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates(dtype="bfloat16")
    updates.add(make_blocks("a"), make_embeddings(1))
    rows = updates.snapshot.matrix.rows(np.arange(1))
    assert not (rows.view(np.uint32) & 0xFFFF).any()


def test_records_are_embedded_again_for_another_index(
    open_updates, make_blocks, make_embeddings, corpus, tmp_path
):
    updates = open_updates()
    updates.add(make_blocks("a", 2), make_embeddings(2))
    updates.delete(["a"])
    updates.add(make_blocks("b"), make_embeddings(1))
    records = Journal(tmp_path / "updates", VERSION).records()
    again = [
        embed_again(record, 8, "bfloat16", lambda blocks: narrow(blocks, 3.001))
        for record in records
    ]
    Journal.create(tmp_path / "other", VERSION, again)
    other = BlockUpdates(
        tmp_path / "other", corpus, dim=2, dtype="bfloat16", belongs_to=VERSION
    )
    assert other.blocks == updates.blocks
    assert other.snapshot.live_rows.tolist() == [2]
    assert other.snapshot.matrix.rows(np.arange(3)).tolist() == [[3.0, 3.0]] * 3
    with pytest.raises(ValueError, match="blocks"):
        embed_again(records[0], 8, "float32", lambda b: narrow(b, np.nan))


def narrow(blocks, value):
    return np.full((len(blocks), 2), value, np.float32)


def test_nothing_to_do_writes_nothing(open_updates):
    updates = open_updates()
    assert len(updates.add([], np.empty((0, 8)))) == 0
    updates.delete([])
    assert open_updates().is_empty


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38, 0.0])
def test_i18_bad_embeddings_are_refused(
    open_updates, make_blocks, make_embeddings, bad
):
    updates = open_updates()
    rows = make_embeddings(3)
    rows[1] = bad
    with pytest.raises(ValueError, match=r"blocks \[1\].*leave these out"):
        updates.add(make_blocks("a", 3), rows)
    assert updates.is_empty


@pytest.mark.parametrize("shape", [(2, 8), (3, 7), (24,)])
def test_embeddings_of_another_shape_are_refused(
    open_updates, make_blocks, shape
):
    with pytest.raises(ValueError, match=r"shape=\(3, 8\)\. Received: shape"):
        open_updates().add(make_blocks("a", 3), np.ones(shape))


def test_blocks_without_a_document_are_refused(
    open_updates, make_blocks, make_embeddings
):
    blocks = make_blocks("a") + make_blocks("")
    with pytest.raises(ValueError, match=r"blocks \[1\] without one"):
        open_updates().add(blocks, make_embeddings(2))


def test_interleaved_documents_are_refused(
    open_updates, make_blocks, make_embeddings
):
    blocks = [*make_blocks("a"), *make_blocks("b"), *make_blocks("a")]
    with pytest.raises(ValueError, match=r"\['a', 'b', 'a'\]. Sort"):
        open_updates().add(blocks, make_embeddings(3))


def test_every_field_of_a_block_is_kept(
    open_updates, make_blocks, make_embeddings
):
    [block] = make_blocks("a")
    block = dataclasses.replace(block, text="Zürich 東京 😀 \0")
    open_updates().add([block], make_embeddings(1))
    [read] = open_updates().blocks
    assert read == dataclasses.replace(block, block_id=20)


def test_a_missing_journal_is_refused(tmp_path, corpus):
    with pytest.raises(FolderError, match="no file"):
        BlockUpdates(
            tmp_path / "updates",
            corpus,
            dim=8,
            dtype="float32",
            belongs_to=VERSION,
        )


def test_a_snapshot_searches_added_blocks_that_are_not_deleted(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    rows = make_embeddings(3)
    for name, row in zip("abc", rows, strict=True):
        updates.add(make_blocks(name), row[None])
    updates.delete(["b"])
    result = updates.snapshot.search(rows[1:2], 3)
    order = np.argsort(-(rows[[0, 2]] @ rows[1]))
    expected = np.array([20, 22])[order].tolist()
    assert result.block_ids.tolist() == [[*expected, -1]]
    assert updates.snapshot.live_rows.tolist() == [0, 2]


def test_live_embeddings_are_those_of_a_compacted_index(
    open_updates, make_blocks, make_embeddings
):
    updates = open_updates()
    main, new = make_embeddings(20), make_embeddings(2, seed=1)
    updates.add(make_blocks("doc-4"), new[:1])  # replaces blocks 8 and 9
    updates.add(make_blocks("a"), new[1:])
    updates.delete(["doc-4"])
    chunks = updates.snapshot.live_embeddings(EmbeddingMatrix.from_array(main))
    np.testing.assert_array_equal(
        np.concatenate(list(chunks)), [*main[:8], *main[10:], new[1]]
    )
