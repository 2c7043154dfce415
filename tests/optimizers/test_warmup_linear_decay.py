import json
import pathlib

import keras
import numpy as np
import pytest

from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
RUNS = json.loads((FIXTURES / "optimizer.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_learning_rates_equal_the_official_ones(name):
    run = RUNS[name]
    schedule = WarmupLinearDecay(
        run["init_lr"], run["num_train_steps"], run["num_warmup_steps"]
    )
    with np.load(FIXTURES / "optimizer.npz") as trajectories:
        expected = trajectories[f"{name}/learning_rate"]
    rates = [schedule(step) for step in range(20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-9)


def test_schedule_of_the_paper_drops_a_little_after_warmup():
    schedule = WarmupLinearDecay(3e-5, num_train_steps=200_000)
    np.testing.assert_allclose(schedule(9_999), 2.9997e-5, rtol=1e-6)
    np.testing.assert_allclose(schedule(10_000), 2.85e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_train_steps", "num_warmup_steps"),
    [(500, 100), (5_000, 500), (1_000_000, 10_000)],
)
def test_warmup_defaults_to_a_tenth_within_bounds(
    num_train_steps, num_warmup_steps
):
    schedule = WarmupLinearDecay(1.0, num_train_steps)
    assert schedule.num_warmup_steps == num_warmup_steps


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_train_steps": 0}, "`num_train_steps` must be at least 1"),
        (
            {"num_train_steps": 9, "num_warmup_steps": -1},
            "`num_warmup_steps` must not be negative",
        ),
    ],
)
def test_impossible_schedules_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        WarmupLinearDecay(1.0, **arguments)


def test_schedule_survives_a_config_round_trip():
    schedule = WarmupLinearDecay(0.1, 20, num_warmup_steps=5)
    config = keras.saving.serialize_keras_object(schedule)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == schedule.get_config()
