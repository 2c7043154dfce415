"""The bucket is a folder here, but reached as one, through `tf.io.gfile`."""

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.refresh import bucket_exchange
from realm_tf.training.refresh.bucket_exchange import BucketExchange
from realm_tf.training.refresh.index_follower import IndexFollower
from realm_tf.training.refresh.refresher import Refresher


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch):
    monkeypatch.setattr(bucket_exchange, "_LOOK_EVERY", 0.0)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/bucket/run"


@pytest.fixture
def trainer(url, exchange_template, town_corpus, tmp_path):
    """The trainer's side of a training that has begun."""
    qa = exchange_template[1]
    exchange = BucketExchange(url, tmp_path / "trainer")
    exchange.begin(qa, town_corpus)
    exchange.qa = qa
    return exchange


@pytest.fixture
def refresher(url, exchange_template, town_corpus, tmp_path):
    """A refresher on a machine of its own."""
    _, qa, embedder = exchange_template
    exchange = BucketExchange(url, tmp_path / "refresher")
    return Refresher(exchange, town_corpus, qa.featurizer, embedder, embedder)


@pytest.fixture
def snapshot(trainer):
    """Writes a snapshot of weights that tell the step; returns the embedder."""

    def write(step):
        embedder = trainer.qa.query_embedder
        kernel = embedder.projection.kernel
        kernel.assign(np.random.default_rng(step).normal(0, 0.5, kernel.shape))
        trainer.write_snapshot(step, embedder, embedder)
        return embedder

    return write


def children(url, folder):
    return set(tf.io.gfile.listdir(f"{url}/{folder}"))


def test_a_refresher_elsewhere_gets_what_it_needs(
    trainer, refresher, town_corpus
):
    other = refresher.exchange
    assert other.is_begun and not other.is_done
    opened = other.open_corpus()
    assert opened.fingerprint == town_corpus.fingerprint
    assert (other.model / "manifest.json").is_file()
    trainer.end()
    assert other.is_done
    trainer.begin(trainer.qa, town_corpus)
    assert not other.is_done


def test_nothing_is_there_before_the_trainer(url, tmp_path):
    exchange = BucketExchange(url, tmp_path / "early")
    assert not exchange.is_begun and not exchange.is_done
    assert exchange.newest_snapshot() is None
    assert exchange.index_steps() == {}


def test_weights_go_over_and_an_index_comes_back(
    trainer, refresher, snapshot, town_corpus
):
    follower = IndexFollower(
        trainer, town_corpus, trainer.qa.featurizer, trainer.qa.query_embedder
    )
    for step in (0, 5):
        embedder = snapshot(step)
        assert refresher.refresh() == step
        assert refresher.refresh() is None
        retrieval = follower.acquire(step)
        assert retrieval.step == step
        for one, other in zip(
            embedder.get_weights(),
            retrieval.embedder.embedder.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    assert trainer.index_steps() == {1: 0, 2: 5}


def test_a_restarted_refresher_knows_what_is_done(
    url, trainer, refresher, snapshot, town_corpus, tmp_path
):
    snapshot(0)
    refresher.refresh()
    snapshot(5)
    fresh = BucketExchange(url, tmp_path / "fresh")
    embedder = copy_layer(refresher.query_embedder)
    again = Refresher(
        fresh, town_corpus, refresher.featurizer, embedder, embedder
    )
    assert again.refresh() == 5
    assert again.refresh() is None
    assert trainer.index_steps()[1] == 5  # the first one was not waited for
    numbers = index_versions.numbers(children(url, "index"))
    assert numbers == [1, 2]


def test_only_the_newest_are_kept(trainer, refresher, snapshot, url):
    for step in range(6):
        snapshot(step)
        refresher.refresh()
        trainer.index_steps()
    assert children(url, "index") == {
        f"v00000{i}{end}" for i in (4, 5, 6) for end in ("", ".updates")
    }
    assert children(url, "snapshots") == {"step-000000004", "step-000000005"}


def test_a_training_that_goes_back_numbers_versions_anew(
    trainer, refresher, snapshot
):
    for step in (0, 5):
        snapshot(step)
        refresher.refresh()
        trainer.index_steps()
    trainer.forget_after(3)
    BlockIndex.roll_back(trainer.index, 1)
    assert refresher.exchange.newest_snapshot() == 0
    snapshot(7)
    refresher.refresh()
    assert trainer.index_steps() == {2: 5, 3: 0, 4: 7}


def test_half_a_copy_does_not_count(trainer, refresher, snapshot, url):
    snapshot(0)
    refresher.refresh()
    for folder in ("snapshots/step-000000009", "index/v000009"):
        tf.io.gfile.makedirs(f"{url}/{folder}")
        with tf.io.gfile.GFile(f"{url}/{folder}/half.npy", "w") as file:
            file.write("half")
    assert refresher.exchange.newest_snapshot() == 0
    assert trainer.index_steps() == {1: 0}
    snapshot(5)
    refresher.refresh()
    assert trainer.index_steps() == {1: 0, 2: 5}
    assert index_versions.numbers(children(url, "index"))[-1] == 10


def test_a_damaged_index_is_refused_and_the_old_one_stays(
    trainer, refresher, snapshot, url
):
    snapshot(0)
    refresher.refresh()
    trainer.index_steps()
    snapshot(5)
    refresher.refresh()
    name = min(n for n in children(url, "index/v000002") if n.endswith(".npy"))
    with tf.io.gfile.GFile(f"{url}/index/v000002/{name}", "a") as file:
        file.write("x")
    with pytest.raises(FolderError, match=name):
        trainer.index_steps()
    assert index_versions.list_versions(trainer.index) == [1]


def test_a_bucket_out_of_reach_is_looked_at_again(
    trainer, refresher, snapshot, monkeypatch, caplog
):
    snapshot(0)
    refresher.refresh()

    def fail(*args, **kwargs):
        raise tf.errors.UnavailableError(None, None, "no network")

    with monkeypatch.context() as patch:
        patch.setattr(bucket_exchange, "copy_folder", fail)
        assert trainer.index_steps() == {}
    assert "no network" in caplog.text
    assert trainer.index_steps() == {1: 0}


def test_w7_a_snapshot_that_is_gone_is_named(refresher, trainer, snapshot):
    embedder = snapshot(5)
    with pytest.raises(FolderError, match="step-000000004"):
        refresher.exchange.read_snapshot(4, embedder, embedder)


def test_a_bucket_of_another_corpus_is_refused(
    url, trainer, city_corpus, tmp_path
):
    other = BucketExchange(url, tmp_path / "other")
    with pytest.raises(MismatchError, match="another output"):
        other.begin(trainer.qa, city_corpus)
