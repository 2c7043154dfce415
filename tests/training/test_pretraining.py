import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.errors import MismatchError
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.options import TrainingOptions
from realm_tf.training import pretraining
from realm_tf.training.datasets.step_dataset import StepDataset
from realm_tf.training.pretraining import pretrain, read_log


class Numbers(StepDataset):
    """Rows of noise; the one of `bad_step` is no number."""

    signature = {"x": tf.TensorSpec([2, 3], tf.float32)}

    def __init__(self, bad_step=None):
        self.bad_step = bad_step

    def batch(self, step):
        x = np.random.default_rng(step).normal(size=(2, 3))
        if step == self.bad_step:
            x[:] = np.nan
        return {"x": x.astype(np.float32)}

    def batch_ids(self, step):
        return np.array([10 * step, 10 * step + 1])

    def figures(self, step):
        return {"number": float(step)}


class Regression(keras.Model):
    """Dropout and a dense layer, whose output should be 1."""

    def __init__(self, dtype=None):
        super().__init__()
        self.dropout = keras.layers.Dropout(0.5)
        self.dense = keras.layers.Dense(1, dtype=dtype)

    def build(self, shape):
        self.dense.build((None, 3))
        self.built = True

    def call(self, inputs, training=None):
        return self.dense(self.dropout(inputs["x"], training=training))

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return keras.ops.mean((keras.ops.cast(y_pred, "float32") - 1.0) ** 2)


def options(**changed):
    return TrainingOptions(
        **{
            "num_steps": 9,
            "learning_rate": 0.1,
            "num_warmup_steps": 0,
            "checkpoint_every": 3,
            "log_every": 1,
            **changed,
        }
    )


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Killed


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            self.model.stop_training = True


class Kept(keras.callbacks.Callback):
    """The weights before training."""

    def on_train_begin(self, logs=None):
        self.first = self.model.get_weights()


def losses(folder):
    return [(line["step"], line["loss"]) for line in read_log(folder)]


def run(folder, dtype=None, **arguments):
    keras.utils.set_random_seed(3)
    model = Regression(dtype)
    pretrain(model, Numbers(), folder, options(), **arguments)
    return [np.array(weight) for weight in model.weights]


@pytest.mark.parametrize("dtype", [None, "mixed_float16"])
def test_t1_t12_killed_runs_end_like_unbroken_ones(tmp_path, dtype):
    expected = run(tmp_path / "unbroken", dtype)
    for steps in (2, 5, 4):  # killed at the steps 2, 5 and 7
        with pytest.raises(Killed):
            run(tmp_path / "killed", dtype, callbacks=[Kill(steps)])
    weights = run(tmp_path / "killed", dtype)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert losses(tmp_path / "killed") == losses(tmp_path / "unbroken")
    assert [step for step, _ in losses(tmp_path / "killed")] == [*range(1, 10)]


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_losses_are_scaled_in_float16(tmp_path, dtype):
    model = Regression(dtype)
    pretrain(model, Numbers(), tmp_path, options())
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled is (dtype == "mixed_float16")
    if is_scaled:
        assert isinstance(model.optimizer.inner_optimizer, BertAdamW)


@pytest.mark.parametrize(("width", "expected"), [(3, "auto"), (None, False)])
def test_only_static_shapes_are_compiled(tmp_path, width, expected):
    seen = []

    class Compiled(Regression):
        def compile(self, **options):
            seen.append(options["jit_compile"])
            super().compile(**options)

    data = Numbers()
    data.signature = {"x": tf.TensorSpec([2, width], tf.float32)}
    pretrain(Compiled(), data, tmp_path, options())
    assert seen == [expected]


def test_finished_run_does_nothing_more(tmp_path):
    expected = run(tmp_path)
    calls = []
    weights = run(tmp_path, progress=lambda *call: calls.append(call))
    assert not calls
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_t4_nan_stops_naming_step_and_blocks(tmp_path):
    model = Regression()
    with pytest.raises(ValueError, match=r"is nan at step 5, .*\[40, 41\]"):
        pretrain(model, Numbers(bad_step=4), tmp_path, options())
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert names == ["step-000000003"]


def test_t11_full_device_names_the_sizes(tmp_path):
    class Large(Numbers):
        sizes = {"batch_size": 2, "block_length": 3}

    class Full(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    with pytest.raises(MemoryError, match=r"batch_size=2, block_length=3"):
        pretrain(Regression(), Large(), tmp_path, options(), callbacks=[Full()])


def test_t9_unequal_parts_for_replicas_are_refused(tmp_path, strategy):
    data = Numbers()
    data.signature = {"x": tf.TensorSpec([3, 3], tf.float32)}
    with strategy.scope():
        model = Regression()
    with pytest.raises(ValueError, match="batch_size=3, 2 replicas"):
        pretrain(model, data, tmp_path, options())


@pytest.mark.parametrize("dtype", [None, "mixed_float16"])
def test_strategy_of_one_host(tmp_path, strategy, dtype):
    """Its first batch is drawn once; see `_fit`."""
    drawn = []

    class Counted(Numbers):
        def batch(self, step):
            drawn.append(step)
            return super().batch(step)

    with strategy.scope():
        model = Regression(dtype)
    pretrain(model, Counted(), tmp_path, options())
    assert drawn == [*range(9)]
    assert [step for step, _ in losses(tmp_path)] == [*range(1, 10)]


def test_run_that_was_stopped_early_goes_on(tmp_path):
    expected = run(tmp_path / "unbroken")
    run(tmp_path / "stopped", callbacks=[Stop()])
    names = sorted(p.name for p in (tmp_path / "stopped/checkpoints").iterdir())
    assert names == ["step-000000003", "step-000000005"]
    weights = run(tmp_path / "stopped")
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "unbroken")


def test_correction_of_the_first_steps_is_part_of_a_run(tmp_path):
    model = Regression()
    corrected = options(bias_correction=True)
    pretrain(model, Numbers(), tmp_path, corrected, callbacks=[Stop()])
    assert model.optimizer.bias_correction
    with pytest.raises(MismatchError, match="bias_correction"):
        pretrain(Regression(), Numbers(), tmp_path, options())
    assert pretrain(Regression(), Numbers(), tmp_path, corrected) == 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"num_steps": 12}, "num_steps=12"), ({"bad_step": 1}, "bad_step=1")],
)
def test_folder_of_another_run_is_refused(tmp_path, changed, message):
    class Described(Numbers):
        @property
        def description(self):
            return {"bad_step": self.bad_step}

    pretrain(Regression(), Described(), tmp_path, options())
    data = Described(changed.pop("bad_step", None))
    with pytest.raises(MismatchError, match=message):
        pretrain(Regression(), data, tmp_path, options(**changed))


def test_another_loss_is_refused(tmp_path):
    model, other = Regression(), Regression()
    model.marginalize, other.marginalize = "token", "example"
    pretrain(model, Numbers(), tmp_path, options())
    with pytest.raises(MismatchError, match="marginalize='example'"):
        pretrain(other, Numbers(), tmp_path, options())


def test_t4_run_goes_on_with_a_lower_learning_rate(tmp_path, caplog):
    with pytest.raises(ValueError, match="lower learning rate"):
        pretrain(Regression(), Numbers(5), tmp_path, options())
    lower = options(learning_rate=1e-9)
    with caplog.at_level("WARNING"):
        model = Regression()
        pretrain(model, Numbers(), tmp_path, lower, callbacks=[kept := Kept()])
    assert "learning_rate=1e-09 (there: 0.1)" in caplog.text
    for first, last in zip(kept.first, model.get_weights(), strict=True):
        np.testing.assert_allclose(last, first, atol=1e-6)
    assert [step for step, _ in losses(tmp_path)] == [*range(1, 10)]


def test_steps_that_are_not_counted_are_refused(tmp_path):
    model = Regression()
    model.compile(optimizer="sgd", steps_per_execution=3)
    with pytest.raises(ValueError, match="steps_per_execution=3"):
        pretrain(model, Numbers(), tmp_path, options())


def test_last_steps_are_logged_too(tmp_path):
    pretrain(
        Regression(),
        Numbers(),
        tmp_path,
        options(num_steps=5, checkpoint_every=3, log_every=3),
    )
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [3, 5]
    assert [line["number"] for line in lines] == [1.0, 3.5]


def test_figures_are_means_of_their_steps(tmp_path):
    seen = []
    pretrain(
        Regression(),
        Numbers(),
        tmp_path,
        options(log_every=3),
        progress=lambda *call: seen.append(call[:3]),
    )
    assert [line["step"] for line in read_log(tmp_path)] == [3, 6, 9]
    assert [line["number"] for line in read_log(tmp_path)] == [1, 4, 7]
    assert seen == [("pretraining", step, 9) for step in range(1, 10)]
    assert list((tmp_path / "tensorboard").iterdir())


def test_line_that_was_cut_is_dropped(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (1, 2, 3)]
    path.write_text("\n".join(lines) + '\n{"step": 4, "lo')
    pretraining._keep_steps(path, 2)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]
    assert "cut" in caplog.text
