import logging
import shutil
import threading
import time

import pytest

from realm_tf._files import writer_lock
from realm_tf.training.refresh.index_follower import IndexFollower
from realm_tf.training.refresh.index_refresh import IndexRefresh


@pytest.fixture
def make(exchange, refresher, town_corpus):
    def make_refresh(**options):
        embedder = exchange.qa.query_embedder
        follower = IndexFollower(
            exchange, town_corpus, exchange.qa.featurizer, embedder
        )
        options = {"every_n_steps": 2, "refresher": refresher, **options}
        return IndexRefresh(exchange, embedder, embedder, follower, **options)

    return make_refresh


def said(caplog):
    """What this library warned of; TensorFlow warns, too."""
    records = [r for r in caplog.records if r.name.startswith("realm_tf")]
    return [record.getMessage() for record in records]


def run(refresh, steps):
    for step in range(steps):
        refresh.on_train_batch_end(step)


def test_sync_index_is_there_before_the_first_step_and_follows(exchange, make):
    refresh = make()
    refresh.begin(0)
    assert exchange.index_steps() == {1: 0}
    run(refresh, 5)
    assert exchange.index_steps() == {1: 0, 2: 2, 3: 4}
    refresh.close()
    assert not exchange.is_done  # it may have been an error
    refresh.on_train_end()
    assert exchange.is_done


def test_resumed_run_goes_back_to_the_version_of_its_step(exchange, make):
    first = make()
    first.begin(0)
    run(first, 5)
    # The last checkpoint was that of step 3, whose index is that of step 2.
    second = make()
    second.begin(3)
    assert exchange.index_steps()[4] == 2
    assert exchange.newest_snapshot() <= 3
    run(second, 1)
    assert exchange.index_steps()[5] == 4


def test_resumed_run_says_when_its_version_is_gone(exchange, make, caplog):
    first = make()
    first.begin(0)
    run(first, 9)  # versions of the steps 4, 6 and 8 are left
    with caplog.at_level(logging.WARNING):
        make().begin(3)
    assert "index of step 2 and its snapshot are gone" in caplog.text
    steps = exchange.index_steps()
    assert steps[max(steps)] == 3


def test_resumed_run_builds_its_version_from_the_snapshot_it_kept(
    exchange, make, caplog
):
    kernel = exchange.qa.query_embedder.projection.kernel
    first = make()
    first.checkpoint_steps = lambda: [3]
    first.begin(0)
    for step in range(9):
        kernel.assign(kernel * 1.1)
        first.on_train_batch_end(step)
    identity = exchange.snapshot_identity(2)
    with caplog.at_level(logging.WARNING):
        make().begin(3)
    assert not said(caplog)
    indexed = exchange.indexed_snapshots()
    assert indexed[max(indexed)] == (2, identity)


def test_index_of_other_weights_is_not_used(exchange, make):
    make().begin(0)  # and killed before the first checkpoint
    kernel = exchange.qa.query_embedder.projection.kernel
    kernel.assign(kernel + 1.0)
    make().begin(0)
    assert exchange.index_steps() == {1: 0, 2: 0}
    make().begin(0)
    assert exchange.index_steps() == {1: 0, 2: 0}


def test_resumed_run_waits_for_a_refresher_that_still_writes(exchange, make):
    first = make()
    first.begin(0)
    run(first, 4)
    second = make(timeout=10.0)
    with writer_lock(exchange.index):
        thread = threading.Thread(target=second.begin, args=[3])
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert max(exchange.index_steps()) == 3
    thread.join()
    assert exchange.index_steps()[4] == 2


def test_external_waits_for_somebody_else(exchange, make):
    refresh = make(mode="external", refresher=None, timeout=0.3)
    with pytest.raises(TimeoutError, match="wait for a newer index ended"):
        refresh.begin(0)
    assert exchange.newest_snapshot() == 0


def test_external_index_is_used_when_it_is_there(exchange, refresher, make):
    exchange.write_snapshot(0, *[exchange.qa.query_embedder] * 2)
    refresher.refresh()
    refresh = make(mode="external", refresher=None, timeout=5)
    refresh.begin(0)
    run(refresh, 4)
    assert exchange.newest_snapshot() == 4
    assert exchange.index_steps() == {1: 0}


def test_resumed_run_does_not_wait_for_a_snapshot_that_is_gone(
    exchange, refresher, make
):
    exchange.write_snapshot(0, *[exchange.qa.query_embedder] * 2)
    refresher.refresh()
    first = make(mode="external", refresher=None)
    first.begin(0)
    run(first, 3)
    shutil.rmtree(exchange.snapshot_folder(2))
    second = make(mode="external", refresher=None, timeout=30)
    thread = threading.Thread(target=second.begin, args=[3])
    thread.start()
    while exchange.newest_snapshot() != 3:
        time.sleep(0.01)
    refresher.refresh()
    thread.join(30)
    assert not thread.is_alive()
    steps = exchange.index_steps()
    assert steps[max(steps)] == 3


def test_w2_child_that_ended_is_an_error(make):
    make().begin(0)  # so that there is an index to begin with
    refresh = make(
        mode="background",
        refresher=None,
        every_n_steps=10_000,
        child_options={"nonsense": 1},
    )
    refresh.begin(0)
    try:
        with pytest.raises(RuntimeError, match=r"code 1: .*nonsense"):
            for step in range(1_000):
                refresh.on_train_batch_end(step)
                time.sleep(0.1)
    finally:
        refresh.close()


def test_w2_child_that_ends_before_the_first_index_is_an_error(make):
    refresh = make(
        mode="background", refresher=None, child_options={"nonsense": 1}
    )
    try:
        with pytest.raises(RuntimeError, match=r"code 1: .*nonsense"):
            refresh.begin(0)
    finally:
        refresh.close()


class Model:
    stop_training = False


@pytest.mark.parametrize("on_stale", ["wait", "warn", "stop"])
def test_t7_index_that_is_too_old(exchange, refresher, make, on_stale, caplog):
    exchange.write_snapshot(0, *[exchange.qa.query_embedder] * 2)
    refresher.refresh()
    refresh = make(
        mode="external",
        refresher=None,
        timeout=0.3,
        max_staleness_steps=3,
        on_stale=on_stale,
    )
    refresh.set_model(model := Model())
    refresh.begin(0)
    with caplog.at_level(logging.WARNING):
        run(refresh, 3)
        assert not said(caplog)
        if on_stale == "wait":
            with pytest.raises(TimeoutError):
                run(refresh, 1)
            return
        run(refresh, 2)
    assert model.stop_training is (on_stale == "stop")
    if on_stale == "warn":
        assert said(caplog) == ["The index is 4 steps old at step 4."]
    else:
        assert "Training stops at step 4" in caplog.text
        refresh.on_train_end()
        assert not exchange.is_done  # it can go on


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "soon"}, "mode='soon'"),
        ({"on_stale": "panic"}, "on_stale='panic'"),
        ({"every_n_steps": 0}, "every_n_steps=0"),
        ({"refresher": None}, "refresher"),
        ({"max_staleness_steps": 1}, "max_staleness_steps=1, every_n_steps=2"),
    ],
)
def test_bad_options_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
