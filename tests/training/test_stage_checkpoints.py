import itertools
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.training.datasets.epoch_dataset import EpochDataset, as_dataset
from realm_tf.training.stage_checkpoints import StageCheckpoints
from realm_tf.training.stage_fitting import READER, StageFitting
from realm_tf.training.train_state import TrainState

EPOCHS, NUM_BATCHES = 3, 4


class Numbers(EpochDataset):
    """Four batches of random numbers, others in every epoch."""

    num_batches = NUM_BATCHES
    batch_size = 2

    def as_dataset(self, first=0):
        spec = tf.TensorSpec((2, 3), tf.float32)
        return as_dataset(self._batches, (spec, spec), NUM_BATCHES, first)

    def _batches(self):
        rng = np.random.default_rng(self.next_epoch())
        for _ in range(NUM_BATCHES):
            yield tuple(rng.normal(size=(2, 2, 3)).astype(np.float32))


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Stops the process, so to speak, when a step is done."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Killed


class Seen(keras.callbacks.Callback):
    """All calls of a callback."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("begin")

    def on_train_end(self, logs=None):
        self.calls.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append((batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, dict(logs)))


def make_model(optimizer=None):
    """A model with dropout, the same every time."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    optimizer = optimizer or {"class_name": "Adam", "config": {}}
    model.compile(
        optimizer=keras.optimizers.get(optimizer),
        loss="mse",
        metrics=["mae"],
    )
    return model


def fit(folder, *callbacks, minutes=0.0, optimizer=None, verbose=0):
    """Trains a model; returns figures, weights, checkpoints."""
    model = make_model(optimizer)
    checkpoints = StageCheckpoints(TrainState(folder), minutes)
    figures = StageFitting(callbacks=callbacks, verbose=verbose).fit(
        READER, model, Numbers(), Numbers(), EPOCHS, checkpoints
    )
    return figures, model.get_weights(), checkpoints


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    seen = Seen()
    figures, weights, _ = fit(tmp_path_factory.mktemp("unbroken"), seen)
    return figures, weights, seen.calls


def assert_same(found, expected):
    assert found[0] == expected[0]
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_checkpoints_change_nothing(unbroken):
    model = make_model()
    figures = StageFitting().fit(READER, model, Numbers(), Numbers(), EPOCHS)
    assert_same((figures, model.get_weights()), unbroken)


# In the first epoch, at an end of one before its validation, in the last.
@pytest.mark.parametrize("kills", [(2,), (4,), (5,), (12,), (1, 6, 3)])
def test_killed_stage_ends_as_an_unbroken_one(kills, unbroken, tmp_path):
    for step in kills:
        with pytest.raises(Killed):
            fit(tmp_path, Kill(step))
    assert_same(fit(tmp_path), unbroken)


def test_callbacks_see_the_rest_of_an_unbroken_fit(unbroken, tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, Kill(7))  # its step 6 was saved
    seen = Seen()
    fit(tmp_path, seen)
    calls = unbroken[2]
    rest = list(itertools.dropwhile(lambda c: c != ("epoch", 1), calls))
    # Its first two batches were done before.
    expected = ["begin", rest[0], *rest[5:]]
    assert seen.calls == expected


def test_finished_stage_is_not_repeated(unbroken, tmp_path):
    fit(tmp_path)
    assert TrainState(tmp_path).steps() == [EPOCHS * NUM_BATCHES]
    seen = Seen()
    found = fit(tmp_path, seen)
    assert_same(found, unbroken)
    assert seen.calls == []
    assert found[2].is_done and found[2].seconds > 0


def test_checkpoints_are_written_at_times(tmp_path, monkeypatch):
    now = itertools.count(step=30.0)
    clock = types.SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr("realm_tf.training.stage_checkpoints.time", clock)
    with pytest.raises(Killed):
        fit(tmp_path, Kill(4), minutes=1)
    assert TrainState(tmp_path).steps() == [2]


def test_a_stage_that_a_callback_stops_is_finished(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    with pytest.raises(Killed):
        fit(tmp_path, Kill(2))
    figures, weights, checkpoints = fit(tmp_path, Stop())
    assert checkpoints.step == 2
    assert len(figures["loss"]) == 1
    again = fit(tmp_path)
    assert_same(again, (figures, weights))


def test_averages_of_weights_resume_at_epochs(tmp_path):
    config = {"use_ema": True, "ema_momentum": 0.5}
    optimizer = {"class_name": "Adam", "config": config}
    expected = fit(tmp_path / "unbroken", optimizer=optimizer)
    with pytest.raises(Killed):
        fit(tmp_path / "killed", Kill(7), optimizer=optimizer)
    assert TrainState(tmp_path / "killed").steps() == [4]
    assert_same(fit(tmp_path / "killed", optimizer=optimizer), expected)


def test_progress_bar_begins_within_the_epoch(tmp_path, capsys):
    with pytest.raises(Killed):
        fit(tmp_path, Kill(7))
    fit(tmp_path, verbose=1)
    out = capsys.readouterr().out
    assert "Epoch 2/3" in out and "Epoch 1/3" not in out
    assert "3/4" in out and "1/4" in out[out.index("Epoch 3/3") :]


def test_two_replicas_resume_too(unbroken, strategy, tmp_path):
    with strategy.scope():
        expected = fit(tmp_path / "unbroken")
    with strategy.scope(), pytest.raises(Killed):
        fit(tmp_path / "killed", Kill(6))
    with strategy.scope():
        found = fit(tmp_path / "killed")
    for name, values in expected[0].items():
        np.testing.assert_allclose(found[0][name], values, rtol=1e-6)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
