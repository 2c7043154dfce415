import logging

import keras
import numpy as np
import pytest

from realm_tf.errors import FolderError, MismatchError
from realm_tf.training.train_state import TrainState


def make_model(units=2, rate=0.5):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(units),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, steps=2):
    x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    return [float(model.train_on_batch(x, y)) for _ in range(steps)]


def test_training_goes_on_to_the_bit(tmp_path):
    unbroken = make_model()
    train(unbroken, 3)
    state = TrainState(tmp_path / "checkpoints")
    assert state.restore(make_model()) == 0
    state.save(unbroken, 3)
    resumed = make_model(rate=0.1)
    train(resumed, 1)
    assert state.restore(resumed) == 3
    # Dropout, momentum and the learning rate go on, too.
    assert train(resumed, 3) == train(unbroken, 3)
    for one, other in zip(unbroken.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_three_newest_are_kept_and_leftovers_removed(tmp_path):
    state = TrainState(tmp_path)
    model = make_model()
    (tmp_path / ".step-000000002.writing-1-abc").mkdir()
    for step in (1, 2, 5, 10):
        state.save(model, step)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-000000002", "step-000000005", "step-000000010"]


def test_arrays_are_kept_beside_the_model(tmp_path):
    state = TrainState(tmp_path)
    state.save(make_model(), 1)
    state.save(make_model(), 2, {"a/b": np.arange(3), "c": 0.5}, keep=1)
    assert state.steps() == [2]
    other = TrainState(tmp_path)
    assert other.extra == {}
    other.restore(make_model())
    assert other.extra["a/b"].tolist() == [0, 1, 2]
    assert other.extra["c"] == 0.5


@pytest.mark.parametrize("damage", ["cut", "flip", "no manifest"])
def test_t2_torn_checkpoint_falls_back_and_says_so(tmp_path, caplog, damage):
    state = TrainState(tmp_path)
    model = make_model()
    state.save(model, 1)
    expected = train(model)
    state.save(model, 3)
    file = tmp_path / "step-000000003" / "variables.npz"
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 2] ^= 255
        file.write_bytes(data)
    else:
        (tmp_path / "step-000000003" / "manifest.json").unlink()
    resumed = make_model()
    with caplog.at_level(logging.WARNING):
        assert state.restore(resumed) == 1
    assert "step 3 is damaged" in caplog.text
    assert train(resumed) == expected
    state.save(resumed, 3)
    assert state.restore(make_model()) == 3


def test_no_whole_checkpoint_is_an_error(tmp_path):
    state = TrainState(tmp_path)
    state.save(make_model(), 1)
    (tmp_path / "step-000000001" / "variables.npz").write_bytes(b"x")
    with pytest.raises(FolderError, match="1, all damaged"):
        state.restore(make_model())


def test_t3_checkpoint_of_another_model_is_refused(tmp_path):
    state = TrainState(tmp_path)
    state.save(make_model(units=5), 1)
    model = make_model()
    before = model.get_weights()
    with pytest.raises(MismatchError, match="of another shape"):
        state.restore(model)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(MismatchError, match=r"unexpected=\['model/"):
        state.restore(other)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_checkpoint_of_another_run_is_refused(tmp_path):
    run = {"seed": 1, "rate": 0.1, "sizes": (1, 2)}
    TrainState(tmp_path, run).save(make_model(), 1)
    assert TrainState(tmp_path, run).restore(make_model()) == 1
    with pytest.raises(MismatchError, match=r"seed=2 \(there: 1\)\. Begin"):
        TrainState(tmp_path, {**run, "seed": 2}).restore(make_model())
    with pytest.raises(MismatchError, match="rate=None"):
        TrainState(tmp_path, {"seed": 1}).restore(make_model())


def test_what_may_change_is_said(tmp_path, caplog):
    run = {"seed": 1, "rate": 0.1}
    TrainState(tmp_path, run).save(make_model(), 1)
    slower = TrainState(tmp_path, {**run, "rate": 0.01}, changeable=["rate"])
    with caplog.at_level(logging.WARNING):
        assert slower.restore(make_model()) == 1
    assert "with rate=0.01 (there: 0.1)." in caplog.text
    other = TrainState(tmp_path, {"seed": 2, "rate": 1}, changeable=["rate"])
    with pytest.raises(MismatchError, match="rate=1 .*seed=2"):
        other.restore(make_model())


def test_t4_weights_that_are_no_numbers_are_not_kept(tmp_path):
    state = TrainState(tmp_path)
    model = make_model()
    state.save(model, 1)
    model.weights[0].assign(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="step 2 in model/"):
        state.save(model, 2)
    assert state.restore(make_model()) == 1
