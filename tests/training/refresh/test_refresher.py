import logging
import os
import threading
import time

import numpy as np
import pytest

from realm_tf._files import writer_lock
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.errors import FolderError, LockedError, RecallError
from realm_tf.retrieval.index import index_builder, index_versions
from realm_tf.training.pretraining_stages import make_refresher
from realm_tf.training.refresh import refresher as refresher_module
from realm_tf.training.refresh import waiting
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.index_follower import IndexFollower
from realm_tf.training.refresh.refresher import Refresher


def test_index_of_the_newest_snapshot_is_published(
    exchange, refresher, snapshot, town_corpus
):
    assert refresher.refresh() is None
    snapshot(0)
    calls = []
    assert refresher.refresh(lambda *call: calls.append(call)) == 0
    assert calls == [("index", 10, 10, {})]
    assert refresher.refresh() is None
    # W6: what came and went in the meantime is skipped.
    for step in (5, 10, 15):
        embedder = snapshot(step)
    assert refresher.refresh() == 15
    assert exchange.index_steps() == {1: 0, 2: 15}
    np.testing.assert_array_equal(
        refresher.block_embedder.projection.kernel, embedder.projection.kernel
    )
    names = [path.name for path in exchange.path.iterdir()]
    assert not [name for name in names if name.startswith(".")]


def test_index_that_scann_searches_badly_is_published_with_a_warning(
    make_qa, short_featurizer, tmp_path, monkeypatch, caplog
):
    articles = [Article(str(i), f"town {i}", f"{i * i}") for i in range(300)]
    corpus = build_corpus(articles, tmp_path / "corpus", short_featurizer)
    qa = make_qa(width=8)
    exchange = Exchange(tmp_path / "exchange")
    exchange.begin(qa, corpus)
    exchange.write_snapshot(7, qa.query_embedder, qa.block_embedder)
    options = {"searcher": "scann"}
    monkeypatch.setattr(index_builder, "searcher_recall_at_k", lambda *_: 0.5)
    with caplog.at_level(logging.WARNING):
        assert make_refresher(qa, corpus, exchange, options).refresh() == 7
    assert "ScaNN finds 0.50 of the 20 best blocks in the index" in caplog.text
    follower = IndexFollower(exchange, corpus, qa.featurizer, qa.query_embedder)
    retrieval = follower.acquire(7)
    assert not retrieval.index.is_exact
    embeddings = retrieval.embedder.questions(["town 5", "town 99"])
    assert (retrieval.index.search(embeddings, 5).block_ids >= 0).all()
    exchange.write_snapshot(8, qa.query_embedder, qa.block_embedder)
    options["recall_floor"] = 0.9
    with pytest.raises(RecallError, match="recall_floor=0.9"):
        make_refresher(qa, corpus, exchange, options).refresh()


def test_w7_snapshot_that_disappears_is_followed_by_the_next(
    exchange, refresher, snapshot, monkeypatch
):
    snapshot(1)
    read = exchange.read_snapshot

    def read_too_late(step, *embedders):
        if step == 1:
            for later in (2, 3):
                snapshot(later)
            raise FolderError("gone")
        return read(step, *embedders)

    monkeypatch.setattr(exchange, "read_snapshot", read_too_late)
    assert refresher.refresh() == 3


def test_damaged_snapshot_is_an_error(exchange, refresher, snapshot):
    snapshot(1)
    file = exchange.path / "snapshots" / "step-000000001"
    (file / "query_embedder.npz").write_bytes(b"x")
    with pytest.raises(FolderError, match=r"query_embedder\.npz"):
        refresher.refresh()


def test_training_that_went_back_is_not_overtaken(
    exchange, refresher, snapshot, monkeypatch
):
    snapshot(0)
    refresher.refresh()
    snapshot(4)
    embed = refresher._shared.embed

    def go_back_meanwhile(step):
        yield from embed(step)
        exchange.forget_after(2)

    monkeypatch.setattr(refresher._shared, "embed", go_back_meanwhile)
    assert refresher.refresh() is None
    assert exchange.index_steps() == {1: 0}


def test_step_that_was_done_again_gets_an_index_again(
    exchange, refresher, snapshot
):
    snapshot(4)
    refresher.refresh()
    embedder = snapshot(4)
    assert refresher.refresh() is None  # the same weights
    embedder.projection.bias.assign(embedder.projection.bias + 1)
    exchange.write_snapshot(4, embedder, embedder)
    assert refresher.refresh() == 4


def test_slow_refresher_publishes_what_was_pruned_meanwhile(
    exchange, refresher, snapshot, monkeypatch
):
    snapshot(1)
    embed = refresher._shared.embed

    def train_meanwhile(step):
        yield from embed(step)
        for later in (2, 3, 4):
            snapshot(later)

    monkeypatch.setattr(refresher._shared, "embed", train_meanwhile)
    assert refresher.refresh() == 1


def test_w4_second_refresher_is_told_of_the_first(
    exchange, refresher, snapshot
):
    snapshot(0)
    with (
        writer_lock(exchange.index),
        pytest.raises(LockedError, match="being written by process"),
    ):
        refresher.refresh()
    assert refresher.refresh() == 0


def test_watching_outlasts_a_trainer_that_goes_back(
    exchange, refresher, snapshot, monkeypatch
):
    snapshot(0)
    exchange.end()
    with writer_lock(exchange.index):
        thread = threading.Thread(target=refresher.watch)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join()
    assert exchange.index_steps() == {1: 0}

    monkeypatch.setattr(refresher_module, "_LONGEST_LOCK", 0.2)
    snapshot(1)
    with writer_lock(exchange.index), pytest.raises(LockedError):
        refresher.watch()


def test_w1_leftovers_of_a_killed_refresher_are_removed(
    exchange, refresher, snapshot
):
    snapshot(0)
    refresher.refresh()
    leftover = exchange.index / ".v000002.writing-1-abc"
    leftover.mkdir()
    snapshot(1)
    assert refresher.refresh() == 1
    assert not leftover.exists()


def test_w5_order_is_that_of_numbers(exchange, refresher, snapshot):
    for step in (0, 1):
        snapshot(step)
        refresher.refresh()
    newest = index_versions.version_folder(exchange.index, 2)
    os.utime(newest, (0, 0))  # the clock went backwards
    assert index_versions.find_version(exchange.index, None) == 2
    assert exchange.newest_snapshot() == 1


def test_watch_refreshes_until_training_has_ended(
    exchange, refresher, snapshot
):
    snapshot(0)
    done = []

    def on_refresh(step, seconds):
        done.append(step)
        if step == 0:
            snapshot(7)
        else:
            exchange.end()

    assert refresher.watch(on_refresh=on_refresh) == 2
    assert done == [0, 7]


def test_watch_ends_when_told(refresher):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert refresher.watch(stop=stop) == 0


def test_w14_a_trainer_that_never_appears(
    exchange, refresher, monkeypatch, caplog
):
    monkeypatch.setattr(waiting, "_LOG_EVERY", 0.2)
    looks = []
    newest = exchange.newest_snapshot
    monkeypatch.setattr(
        exchange, "newest_snapshot", lambda: looks.append(1) or newest()
    )
    start = time.monotonic()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(TimeoutError, match="wait for a snapshot ended"),
    ):
        refresher.watch(timeout=1.0)
    assert 1.0 <= time.monotonic() - start < 10
    assert len(looks) < 10  # it waits longer and longer
    assert "Waiting for a snapshot" in caplog.text


def test_first_of_several_builds_the_index(
    exchange, exchange_template, snapshot, town_corpus
):
    _, qa, embedder = exchange_template
    first, second = (
        Refresher(
            exchange,
            town_corpus,
            qa.featurizer,
            embedder,
            embedder,
            worker=worker,
            num_workers=2,
        )
        for worker in (0, 1)
    )
    snapshot(7)
    assert second.refresh() is None
    assert first.refresh() == 7
    assert exchange.index_steps() == {1: 7}
