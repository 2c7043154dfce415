"""Pre-training with `fit`: steps, checkpoints, figures."""

import dataclasses
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from realm_tf._manifest import replace_file
from realm_tf.training.index_refresh import IndexRefresh
from realm_tf.training.memory import explain_out_of_memory
from realm_tf.training.multi_worker import (
    check_parts,
    fit_steps,
    is_chief,
    is_multi_worker,
    num_rows,
)
from realm_tf.training.optimizers import BertAdamW, WarmupLinearDecay
from realm_tf.training.steps import StepDataset
from realm_tf.training.train_state import TrainState

logger = logging.getLogger(__name__)

_LOG_NAME = "log.jsonl"

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with steps done, steps in all, and the latest figures."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How long and how hard to train.

    Args:
        num_steps: in all; the learning rate is 0 after them.
        learning_rate: peak. Published: 1e-4 for ICT, 3e-5 for masked words.
        num_warmup_steps: default: a tenth of the steps, from 100 to 10,000.
        checkpoint_every: steps; a multiple of `log_every`.
        log_every: steps whose figures are averaged.
    """

    num_steps: int = 100_000
    learning_rate: float = 1e-4
    num_warmup_steps: int | None = None
    checkpoint_every: int = 500
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("num_steps", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be 1 or more. Received: "
                    f"{name}={getattr(self, name)}."
                )
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                "`checkpoint_every` must be a multiple of `log_every`, so that "
                "a run that goes on logs what an unbroken one does. Received: "
                f"checkpoint_every={self.checkpoint_every}, "
                f"log_every={self.log_every}."
            )

    def optimizer(self) -> BertAdamW:
        """BERT's optimizer with its schedule, as published for all stages."""
        return BertAdamW(
            WarmupLinearDecay(
                self.learning_rate, self.num_steps, self.num_warmup_steps
            )
        )


def pretrain(
    model: keras.Model,
    data: StepDataset,
    folder: str | os.PathLike[str],
    options: TrainingOptions,
    *,
    refresh: IndexRefresh | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> int:
    """Trains, or goes on where a run in the same folder was stopped.

    Build the model in the scope of a strategy to train on several devices or
    hosts; `fit` is used where Keras can, and a loop of our own elsewhere.

    A run that was killed and started again has the same losses as one that was
    not: bit for bit where TensorFlow's operations are deterministic.

    Args:
        model: `InverseClozePretrainer` or `RealmPretrainer`; compiled here if
            it is not yet: with XLA on a GPU if the shapes of the data are
            static, and with loss scaling if a trunk computes in float16.
        data: `StepDataset`.
        folder: gets `checkpoints/`, `log.jsonl` and `tensorboard/`.
        options: `TrainingOptions`.
        refresh: `IndexRefresh`, for a `RealmPretrainer`.
        callbacks: of `fit`; what they add to the figures is logged.
        progress: see `Progress`.

    Returns:
        Number of steps that had been done when it began.

    Raises:
        ValueError: if the loss is not finite, naming step and blocks; the
            last good checkpoint stays.
        MemoryError: if a step does not fit on the device.
    """
    folder = pathlib.Path(folder)
    with model.distribute_strategy.scope():
        if not model.compiled:
            _compile(model, data, options)
        _build(model)
    state = TrainState(folder / "checkpoints")
    start = state.restore(model)
    strategy = model.distribute_strategy
    if start >= options.num_steps:
        if refresh is not None and is_chief(strategy):
            refresh.on_train_end()  # refreshers may be waiting for more
        return start
    if not is_chief(strategy):
        # The first host writes the files, the index among them.
        resets = [_ResetMetrics(options, start)]
        fit_steps(model, data, start, options.num_steps, resets)
        return start
    callbacks = [
        *([refresh] if refresh else []),
        *callbacks,
        StepLog(folder, data, options, start, progress),
        _ResetMetrics(options, start),
        _Checkpoints(state, options, start),
    ]
    try:
        if refresh is not None:
            refresh.begin(start)
        with explain_out_of_memory(data.sizes):
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
    if is_multi_worker(strategy):
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
    optimizer: keras.optimizers.Optimizer = options.optimizer()
    # Keras asks the model, whose own policy is float32.
    if any(x.dtype_policy.name == "mixed_float16" for x in model.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # XLA would compile again for every new shape.
    is_static = all(
        spec.shape.is_fully_defined() for spec in data.signature.values()
    )
    model.compile(
        optimizer=optimizer, jit_compile="auto" if is_static else False
    )


def _build(model: keras.Model) -> None:
    """Makes all variables, so that a checkpoint can be read into them.

    Keras would draw a batch for it, and begin the data again.
    """
    if not model.built:
        model.build(None)
    model.optimizer.build(model.trainable_variables)


class StepLog(keras.callbacks.Callback):
    """Writes the mean figures of every few steps, and stops at a NaN.

    Args:
        folder: gets `log.jsonl` and `tensorboard/`.
        data: `StepDataset`, asked for figures and which batch was bad.
        options: `TrainingOptions`.
        start: number of steps that were done before.
        progress: see `Progress`.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        data: StepDataset,
        options: TrainingOptions,
        start: int,
        progress: Progress | None = None,
    ):
        super().__init__()
        self.data = data
        self.options = options
        self.start = start
        self.progress = progress or (lambda *_: None)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _LOG_NAME
        _keep_steps(self._path, start)
        self._writer = tf.summary.create_file_writer(
            str(folder / "tensorboard")
        )
        self._time = time.monotonic()
        self._sums: dict[str, float] = {}

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        step = self.start + batch + 1
        figures = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in self.data.figures(step - 1).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if not np.isfinite(figures.get("loss", 0.0)):
            block_ids = self.data.batch_ids(step - 1)
            raise ValueError(
                f"The loss must be finite. Received: loss={figures['loss']} at "
                f"step {step}, of the blocks {block_ids[:8].tolist()}... Start "
                "again from the last checkpoint with a lower learning rate or "
                "in float32."
            )
        if step % self.options.log_every == 0:
            self._write(step, figures)
        self.progress(step, self.options.num_steps, figures)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._writer.close()

    def _write(self, step: int, figures: dict[str, float]) -> None:
        now = time.monotonic()
        seconds, self._time = now - self._time, now
        rate = self.options.log_every / max(seconds, 1e-9)
        means = {n: x / self.options.log_every for n, x in self._sums.items()}
        self._sums.clear()
        line = {"step": step, **figures, **means, "steps_per_second": rate}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with self._writer.as_default(step=step):
            for name, value in line.items():
                tf.summary.scalar(name, value)


class _ResetMetrics(keras.callbacks.Callback):
    """Begins the means of the figures again, on every host."""

    def __init__(self, options: TrainingOptions, start: int):
        super().__init__()
        self.options = options
        self.step = start

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        if self.step % self.options.log_every == 0:
            self.model.reset_metrics()


class _Checkpoints(keras.callbacks.Callback):
    def __init__(
        self,
        state: TrainState,
        options: TrainingOptions,
        start: int,
    ):
        super().__init__()
        self.state = state
        self.options = options
        self.step = start

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        is_last = self.step == self.options.num_steps
        if self.step % self.options.checkpoint_every == 0 or is_last:
            self.state.save(self.model, self.step)


def _keep_steps(path: pathlib.Path, start: int) -> None:
    """Drops the lines of steps that will be done again."""
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
    """The lines of `log.jsonl` that `pretrain` wrote into a folder."""
    text = (pathlib.Path(folder) / _LOG_NAME).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
