"""Pre-training with `fit`: steps, checkpoints, figures."""

import json
import logging
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf._files import replace_file
from realm_tf._progress import Progress, no_progress
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.synced_loss_scale_optimizer import (
    SyncedLossScaleOptimizer,
)
from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay
from realm_tf.options import TrainingOptions
from realm_tf.training.datasets.step_dataset import StepDataset
from realm_tf.training.multi_worker import (
    check_parts,
    fit_steps,
    is_chief,
    num_rows,
)
from realm_tf.training.out_of_memory import explain_out_of_memory
from realm_tf.training.refresh.index_refresh import IndexRefresh
from realm_tf.training.skipped_padding import skipped_padding
from realm_tf.training.step_callback import StepCallback
from realm_tf.training.train_state import TrainState, build_variables

logger = logging.getLogger(__name__)

_LOG_NAME = "log.jsonl"
_CHANGEABLE = ("learning_rate", "num_warmup_steps")  # by a resumed run
_LOSSES = ("marginalize", "mask_duplicates")  # what tells them from others


def new_optimizer(options: TrainingOptions) -> BertAdamW:
    """BERT's optimizer with its schedule, as published for all stages."""
    return BertAdamW(
        WarmupLinearDecay(
            options.learning_rate, options.num_steps, options.num_warmup_steps
        ),
        bias_correction=options.bias_correction,
    )


def _description(options: TrainingOptions) -> dict[str, Any]:
    """The options in a checkpoint; see `TrainState`."""
    names = ["num_steps", *_CHANGEABLE]
    if options.bias_correction:  # what earlier versions did not have
        names.append("bias_correction")
    return {name: getattr(options, name) for name in names}


def pretrain(
    model: keras.Model,
    data: StepDataset,
    folder: str | os.PathLike[str],
    options: TrainingOptions,
    *,
    refresh: IndexRefresh | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress = no_progress,
) -> int:
    """Trains, or resumes the run in the same folder.

    Build the model in the scope of a strategy to train on several devices or
    hosts; without one `fit` is used, and `fit_steps` with one.

    A resumed run has the same losses as an unbroken one: bit for bit where
    TensorFlow's operations are deterministic.

    Args:
        model: `InverseClozePretrainer` or `RealmPretrainer`; compiled here if
            it is not yet: with XLA on one GPU if the shapes of the data are
            static, and with loss scaling if a backbone computes in float16.
        data: `StepDataset`.
        folder: gets `checkpoints/`, `log.jsonl` and `tensorboard/`.
        options: `TrainingOptions`.
        refresh: `IndexRefresh`, for a `RealmPretrainer`.
        callbacks: of `fit`; what they add to the figures is logged. Where one
            stops the training (`model.stop_training`), a checkpoint is kept.
        progress: see `Progress`; its stage is "pretraining", its units
            are steps.

    Returns:
        Number of steps that were done before.

    Raises:
        ValueError: if the loss is not finite, naming step and blocks; the
            last good checkpoint stays. Or if the model is compiled with
            options that this function or its strategy does not support.
        MismatchError: if the folder is of a run with another loss, other data
            or another number of steps. Another learning rate is a warning.
        MemoryError: if a step does not fit on the device.
    """
    folder = pathlib.Path(folder)
    with model.distribute_strategy.scope():
        if not model.compiled:
            _compile(model, data, options)
        if model.steps_per_execution != 1:
            raise ValueError(
                "`steps_per_execution` must be 1, because every step is "
                "logged. Received: "
                f"steps_per_execution={model.steps_per_execution}. Compile "
                "without it."
            )
    build_variables(model)
    losses = {n: getattr(model, n) for n in _LOSSES if hasattr(model, n)}
    state = TrainState(
        folder / "checkpoints",
        {**data.description, **_description(options), **losses},
        changeable=_CHANGEABLE,
    )
    start = state.restore(model)
    strategy = model.distribute_strategy
    if start >= options.num_steps:
        logger.warning("All %d steps had been done in %s.", start, folder)
        if refresh is not None and is_chief(strategy):
            refresh.exchange.end()  # refreshers may be waiting for more
        return start
    if not is_chief(strategy):
        # The first host writes the files, the index among them.
        others: list[StepCallback] = [_StopAtNaN(data), _ResetMetrics(options)]
        for callback in others:
            callback.go_on(start, {})
        with skipped_padding(model):
            fit_steps(model, data, start, options.num_steps, others)
        return start
    callbacks = [
        _StopAtNaN(data),  # before anything is made of bad weights
        *([refresh] if refresh else []),
        *callbacks,
        StepLog(folder, data, options, progress),
        _ResetMetrics(options),
        _Checkpoints(state, options),
    ]
    _keep_steps(folder / _LOG_NAME, start)
    lines = read_log(folder)
    for callback in callbacks:
        if isinstance(callback, StepCallback):
            callback.go_on(start, lines[-1] if lines else {})
    try:
        if refresh is not None:
            refresh.checkpoint_steps = state.steps
            refresh.begin(start)
        with explain_out_of_memory(data.sizes), skipped_padding(model):
            _fit(model, data, start, options.num_steps, callbacks)
    finally:
        if refresh is not None:
            refresh.close()
    return start


def _fit(
    model: keras.Model,
    data: StepDataset,
    start: int,
    end: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    strategy = model.distribute_strategy
    check_parts(num_rows(data), strategy.num_replicas_in_sync)
    with strategy.scope():
        is_default = not tf.distribute.has_strategy()
    if not is_default:
        # Under a strategy Keras draws a batch to build the model, and drops
        # the iterator: that waits for a generator, which may wait for an index
        # that is not there before training has begun.
        fit_steps(model, data, start, end, callbacks)
        return
    model.fit(
        data.as_dataset(start, end),
        steps_per_epoch=end - start,
        shuffle=False,  # The data has an order.
        verbose=0,
        callbacks=callbacks,
    )


def _compile(
    model: keras.Model, data: StepDataset, options: TrainingOptions
) -> None:
    optimizer: keras.optimizers.Optimizer = new_optimizer(options)
    # Keras asks the model, whose own policy is float32.
    if any(x.dtype_policy.name == "mixed_float16" for x in model.layers):
        optimizer = SyncedLossScaleOptimizer(optimizer)
    # XLA would recompile for every new shape, and Keras cannot combine it
    # with a strategy.
    is_static = all(
        spec.shape.is_fully_defined() for spec in data.signature.values()
    )
    is_alone = model.distribute_strategy.num_replicas_in_sync == 1
    model.compile(
        optimizer=optimizer,
        jit_compile="auto" if is_static and is_alone else False,
    )


class _StopAtNaN(StepCallback):
    def __init__(self, data: StepDataset):
        super().__init__()
        self.data = data

    def on_step(self, logs: dict[str, float]) -> None:
        loss = float(logs.get("loss", 0.0))
        if np.isfinite(loss):
            return
        block_ids = self.data.batch_ids(self.step - 1)
        raise ValueError(
            f"The loss is {loss} at step {self.step}, of the blocks "
            f"{block_ids[:8].tolist()}... Start the same training with a lower "
            "learning rate to resume from the last checkpoint."
        )


class StepLog(StepCallback):
    """Writes the mean figures of every few steps, and of the last ones.

    Args:
        folder: gets `log.jsonl` and `tensorboard/`.
        data: `StepDataset`, asked for figures.
        options: `TrainingOptions`.
        progress: see `Progress`; its stage is "pretraining", its units
            are steps.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        data: StepDataset,
        options: TrainingOptions,
        progress: Progress = no_progress,
    ):
        super().__init__()
        self.data = data
        self.options = options
        self.progress = progress
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _LOG_NAME
        self._writer = tf.summary.create_file_writer(
            str(folder / "tensorboard")
        )
        self._time = time.monotonic()
        self._sums: dict[str, float] = {}
        self._count = 0  # steps since the last line

    def on_step(self, logs: dict[str, float]) -> None:
        figures = {name: float(value) for name, value in logs.items()}
        for name, value in self.data.figures(self.step - 1).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        num_steps = self.options.num_steps
        if self.step % self.options.log_every == 0 or self.step == num_steps:
            self._write(figures)
        self.progress("pretraining", self.step, num_steps, figures)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._writer.close()

    def _write(self, figures: dict[str, float]) -> None:
        now = time.monotonic()
        seconds, self._time = now - self._time, now
        rate = self._count / max(seconds, 1e-9)
        means = {n: x / self._count for n, x in self._sums.items()}
        self._sums.clear()
        self._count = 0
        line = {"step": self.step, **figures, **means, "steps_per_second": rate}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with self._writer.as_default(step=self.step):
            for name, value in line.items():
                tf.summary.scalar(name, value)


class _ResetMetrics(StepCallback):
    """Resets the means of the figures, on every host."""

    def __init__(self, options: TrainingOptions):
        super().__init__()
        self.options = options

    def on_step(self, logs: dict[str, float]) -> None:
        if self.step % self.options.log_every == 0:
            self.model.reset_metrics()


class _Checkpoints(StepCallback):
    def __init__(self, state: TrainState, options: TrainingOptions):
        super().__init__()
        self.state = state
        self.options = options
        self._saved = 0

    def go_on(self, step: int, figures: dict[str, float]) -> None:
        super().go_on(step, figures)
        self._saved = step

    def on_step(self, logs: dict[str, float]) -> None:
        if self.step % self.options.checkpoint_every == 0:
            self._save()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._saved < self.step:
            self._save()

    def _save(self) -> None:
        self.state.save(self.model, self.step)
        self._saved = self.step


def _keep_steps(path: pathlib.Path, start: int) -> None:
    """Drops the lines of steps that will be repeated."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= start:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            logger.warning("%s had a line that was cut; it is dropped.", path)
    replace_file(path, "".join(kept))


def read_log(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """The lines of `log.jsonl` that `pretrain` wrote into a folder, if any."""
    path = pathlib.Path(folder) / _LOG_NAME
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
