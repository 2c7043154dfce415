import shutil
import threading

import numpy as np
import pytest

from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.refresh.index_follower import IndexFollower


@pytest.fixture
def follow(exchange, town_corpus):
    def make(**options):
        return IndexFollower(
            exchange,
            town_corpus,
            exchange.qa.featurizer,
            exchange.qa.query_embedder,
            **options,
        )

    return make


def test_versions_come_with_their_own_embedder(
    exchange, refresher, snapshot, follow
):
    follower = follow()
    for step in (0, 4):
        embedder = snapshot(step)
        refresher.refresh()
        # Training goes on, and must not change what queries are.
        expected = TextEmbedder(embedder, exchange.qa.featurizer).questions(
            ["paris"]
        )
        embedder.projection.kernel.assign(embedder.projection.kernel * 0)
        retrieval = follower.acquire(step + 2)
        assert retrieval.step == step == retrieval.index.training_step
        np.testing.assert_allclose(
            retrieval.embedder.questions(["paris"]), expected, rtol=1e-5
        )
    assert follower.acquire(100).index is retrieval.index


def test_batches_of_a_step_wait_for_their_version(refresher, snapshot, follow):
    snapshot(0)
    refresher.refresh()
    follower = follow(every_n_steps=5)
    assert follower.acquire(4).step == 0
    found = []
    thread = threading.Thread(target=lambda: found.append(follower.acquire(5)))
    thread.start()
    thread.join(timeout=0.3)
    assert thread.is_alive()
    snapshot(5)
    refresher.refresh()
    thread.join(timeout=30)
    assert found[0].step == 5


def test_batches_wait_for_a_version_that_is_not_too_old(
    refresher, snapshot, follow
):
    snapshot(0)
    refresher.refresh()
    follower = follow(max_staleness_steps=3, timeout=0.2)
    assert follower.acquire(3).step == 0
    with pytest.raises(TimeoutError, match="the index of step 1 "):
        follower.acquire(4)
    snapshot(2)
    refresher.refresh()
    assert follower.acquire(5).step == 2


def test_version_of_a_later_step_is_not_for_an_earlier_one(
    exchange, refresher, snapshot, follow
):
    # Another host goes on from step 7 before the first has gone back.
    for step in (5, 10):
        snapshot(step)
        refresher.refresh()
    follower = follow(every_n_steps=5)
    found = []
    thread = threading.Thread(target=lambda: found.append(follower.acquire(7)))
    thread.start()
    thread.join(timeout=0.3)
    assert thread.is_alive()
    BlockIndex.roll_back(exchange.index, 1)
    thread.join(timeout=30)
    assert found[0].step == 5


def test_closing_ends_waiting(follow):
    follower = follow(every_n_steps=5)
    threading.Timer(0.2, follower.close).start()
    with pytest.raises(RuntimeError, match="step=0, after `close`"):
        follower.acquire(0)


def test_w14_index_that_never_appears(follow):
    with pytest.raises(TimeoutError, match="for the index of step 5 ended"):
        follow(every_n_steps=5, timeout=0.3).acquire(7)


def test_w9_index_that_is_deleted_stays_until_released(
    exchange, refresher, snapshot, follow
):
    snapshot(0)
    refresher.refresh()
    follower = follow()
    index = follower.acquire(0).index
    query = np.ones((1, index.embedding_dim))
    expected = index.search(query, 3).block_ids
    shutil.rmtree(index_versions.version_folder(exchange.index, 1))
    assert follower.acquire(1).index is index
    np.testing.assert_array_equal(index.search(query, 3).block_ids, expected)
