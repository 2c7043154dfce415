"""StageCheckpoints: a stage of fine-tuning resumes where it stopped."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from realm_tf.training.datasets.epoch_dataset import EpochDataset
from realm_tf.training.train_state import TrainState, build_variables


class StageCheckpoints(keras.callbacks.Callback):
    """Saves a stage while Keras fits it; must be the last of the callbacks.

    Args:
        state: `TrainState` of the stage.
        minutes: between checkpoints; 0 saves every step.

    Attributes:
        step: number of steps that are done.
        figures: those of the epochs that are done.
        seconds: that earlier runs spent on the steps.
        is_done: whether the stage has ended.
    """

    def __init__(self, state: TrainState, minutes: float):
        super().__init__()
        self.state = state
        self.minutes = minutes
        self.step = 0
        self.figures: dict[str, list[float]] = {}
        self.seconds = 0.0
        self.is_done = False
        self._begun_at = self._saved_at = time.monotonic()

    def restore(self, model: keras.Model, data: EpochDataset) -> None:
        """Brings model and data where the newest checkpoint was.

        Args:
            model: compiled.
            data: that the stage is trained on.
        """
        build_variables(model)
        self.step = self.state.restore(model)
        extra = self.state.extra
        self.figures = {
            name: values.tolist() for name, values in _under("figure", extra)
        }
        self.seconds = float(extra.get("seconds", 0.0))
        self.is_done = bool(extra.get("is_done", False))
        self._data = data
        if not self.is_done and self.step % data.num_batches:
            data.restore(dict(_under("data", extra)))
        self._begun_at = self._saved_at = time.monotonic()

    def fit(
        self,
        model: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        epochs: int,
        **options: Any,
    ) -> dict[str, list[float]]:
        """Does the steps that are left, and keeps the last weights.

        Args:
            model: that was restored.
            callbacks: as in `keras.Model.fit`.
            epochs: in all.
            **options: of `keras.Model.fit`.

        Returns:
            figures of each epoch.
        """
        data = self._data
        epoch, first = divmod(self.step, data.num_batches)
        sums = [value for _, value in _under("metric", self.state.extra)]
        all_callbacks: Any = [_ResumedMetrics(sums), *callbacks, self]
        with contextlib.ExitStack() as stack:
            if first:
                # Keras has no epoch that begins in its middle.
                all_callbacks = stack.enter_context(
                    _ResumedEpoch(
                        all_callbacks,
                        model,
                        first,
                        verbose=options["verbose"],
                        epochs=epochs,
                        steps=data.num_batches,
                    )
                )
                model.fit(
                    data.as_dataset(first),
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    callbacks=all_callbacks,
                    **options,
                )
                epoch += 1
            is_stopped = first and model.stop_training
            if epoch < epochs and not is_stopped:
                model.fit(
                    data.as_dataset(),
                    initial_epoch=epoch,
                    epochs=epochs,
                    callbacks=all_callbacks,
                    **options,
                )
        self.is_done = True
        self._save(keep=1)
        return self.figures

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        # The last step of an epoch is not all of it: validation is to come.
        if self._is_within_an_epoch() and self._is_due():
            # The rest of an epoch is a `fit` of its own, at whose end averages
            # would take the place of the weights.
            optimizer = self.model.optimizer
            if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
                self._save()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        for name, value in (logs or {}).items():
            self.figures.setdefault(name, []).append(float(value))
        # At the end others may restore the best weights; `fit` saves them.
        is_last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if self._is_due() and not is_last:
            self._save()

    def _is_within_an_epoch(self) -> bool:
        return self.step % self._data.num_batches != 0

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self.minutes

    def _save(self, **options: Any) -> None:
        now = time.monotonic()
        extra: dict[str, Any] = {
            "seconds": self.seconds + now - self._begun_at,
            "is_done": self.is_done,
            **_over("figure", self.figures),
        }
        if self._is_within_an_epoch() and not self.is_done:
            variables = self.model.metrics_variables
            values = map(keras.ops.convert_to_numpy, variables)
            extra |= _over(
                "metric", {f"{i:04d}": v for i, v in enumerate(values)}
            )
            extra |= _over("data", self._data.state())
        self.state.save(self.model, self.step, extra, **options)
        self._saved_at = now


class _ResumedMetrics(keras.callbacks.Callback):
    """Adds the steps before to the figures of an epoch that is resumed.

    Keras makes metrics in the first step. Their states are sums.

    Args:
        sums: states of the metrics after the steps before; empty if there are
            none.
    """

    def __init__(self, sums: Sequence[np.ndarray]):
        super().__init__()
        self.sums = sums

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if not self.sums:
            return
        variables = self.model.metrics_variables
        for variable, value in zip(variables, self.sums, strict=True):
            variable.assign(keras.ops.convert_to_numpy(variable) + value)
        self.sums = ()
        for name, value in self.model.get_metrics_result().items():
            if logs is not None:
                logs[name] = float(value)


class _ResumedEpoch(keras.callbacks.CallbackList):
    """Callbacks to which the rest of an epoch and all others are one `fit`.

    Use it as a context, in which training begins and ends.

    Args:
        callbacks: as in `keras.Model.fit`.
        model: `keras.Model`.
        first: batches of the first epoch that were done before.
        **params: see `keras.callbacks.CallbackList`.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        first: int,
        **params: Any,
    ):
        super().__init__(
            [*callbacks],
            add_history=True,
            add_progbar=params["verbose"] != 0,
            model=model,
            **params,
        )
        self._first = first
        self._logs: dict[str, float] | None = None

    def __enter__(self) -> "_ResumedEpoch":
        super().on_train_begin()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            super().on_train_end(self._logs)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        pass

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._logs = logs

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        super().on_train_batch_begin(batch + self._first, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        super().on_train_batch_end(batch + self._first, logs)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        super().on_epoch_end(epoch, logs)
        self._first = 0


def _over(group: str, values: Any) -> dict[str, Any]:
    return {f"{group}/{name}": value for name, value in values.items()}


def _under(group: str, values: dict[str, np.ndarray]) -> list[Any]:
    start = f"{group}/"
    return [
        (name.removeprefix(start), value)
        for name, value in values.items()
        if name.startswith(start)
    ]
