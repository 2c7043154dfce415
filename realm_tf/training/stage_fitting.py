"""StageFitting: how Keras fits the stages of a fine-tuning."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from realm_tf._progress import Progress, no_progress
from realm_tf.models.keras_display import print_line, progress_bar
from realm_tf.training.skipped_padding import skipped_padding
from realm_tf.training.stage_checkpoints import StageCheckpoints

RETRIEVER, READER = STAGES = ("retriever", "reader")

_TITLES = {
    "positives": "Embedding the corpus before training",
    RETRIEVER: "Training the retriever",
    "index": "Embedding the corpus",
    READER: "Training the reader",
}


@dataclasses.dataclass(frozen=True)
class StageFitting:
    """How Keras fits the stages; see `RealmQA.compile` and `RealmQA.fit`.

    Args:
        optimizer: `None` for `BertAdamW` with the learning rates of
            `FinetuneOptions`; or what `keras.optimizers.get` takes, of which
            each stage gets a copy; or a dict of them, one for each stage.
        jit_compile: as in `keras.Model.compile`.
        callbacks: as in `keras.Model.fit`, in both stages.
        verbose: as in `keras.Model.fit`.
        progress: see `Progress`.

    Raises:
        ValueError: if `optimizer` is unknown, or of an unknown stage.
    """

    optimizer: Any = None
    jit_compile: bool | str = "auto"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: int | str = 0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for stage in STAGES:
            self.stage_optimizer(stage)

    def stage_optimizer(self, stage: str) -> keras.optimizers.Optimizer | None:
        """A new optimizer, as each holds the state of one model."""
        chosen = self.optimizer
        # A dict may also be the configuration of an optimizer.
        if isinstance(chosen, Mapping) and "class_name" not in chosen:
            if unknown := sorted(chosen.keys() - set(STAGES)):
                raise ValueError(
                    "`optimizer` must be one optimizer, or a dict with the "
                    f"keys {', '.join(STAGES)}. Received: {unknown[0]!r}."
                )
            chosen = chosen.get(stage)
        if chosen is None:
            return None
        given = keras.optimizers.get(chosen)
        return type(given).from_config(given.get_config())

    def begin(self, stage: str) -> Progress:
        """Shows that a stage begins.

        Returns:
            `Progress`, to be called at every step.
        """
        if self.progress is not None:
            return self.progress
        if not self.verbose:
            return no_progress
        print_line(_TITLES[stage])
        if stage in STAGES:
            return no_progress  # Keras shows its own bar.
        return progress_bar(self.verbose, "block")

    def fit(
        self,
        stage: str,
        model: keras.Model,
        data: Any,
        validation_data: Any,
        epochs: int,
        checkpoints: StageCheckpoints | None = None,
    ) -> dict[str, list[float]]:
        """Fits the model of a stage.

        Args:
            stage: one of `STAGES`.
            model: `keras.Model`, compiled.
            data: `RetrieverDataset` or `ReadingDataset`.
            validation_data: of the same class, or None.
            epochs: number of epochs.
            checkpoints: from which the stage resumes, if any.

        Returns:
            figures of each epoch.

        Raises:
            ValueError: if the loss is not finite.
        """
        start = 0
        if checkpoints is not None:
            checkpoints.restore(model, data)
            if checkpoints.is_done:
                return checkpoints.figures
            start = checkpoints.step
        num_steps = data.num_batches * epochs
        steps = _Steps(stage, num_steps, self.begin(stage), start)
        epoch = _Epochs(data, validation_data)
        callbacks = [epoch, steps, *self.callbacks]
        options = {
            "epochs": epochs,
            "shuffle": False,  # The data has another order in every epoch.
            "verbose": self.verbose,
            "validation_data": (
                validation_data and validation_data.as_dataset()
            ),
        }
        with skipped_padding(model):
            if checkpoints is not None:
                return checkpoints.fit(model, callbacks, **options)
            fitted = model.fit(
                data.as_dataset(), callbacks=callbacks, **options
            )
            return fitted.history


class _Epochs(keras.callbacks.Callback):
    """Tells the data which epoch begins, and the validation data, too."""

    def __init__(self, data: Any, validation_data: Any):
        super().__init__()
        self.data = data
        self.validation_data = validation_data
        self.epoch = 0

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.epoch = epoch
        self.data.begin(epoch)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self.validation_data.begin(self.epoch)


class _Steps(keras.callbacks.Callback):
    """Reports figures, and stops at a loss that is not finite."""

    def __init__(
        self, stage: str, num_steps: int, show: Progress, step: int = 0
    ):
        super().__init__()
        self.stage = stage
        self.num_steps = num_steps
        self.show = show
        self.step = step

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        logs = logs or {}
        if not np.isfinite(logs.get("loss", 0.0)):
            raise ValueError(
                f"The loss is {logs['loss']} at step {self.step} of the "
                f"{self.stage}. Lower the learning rate, or train in float32."
            )
        self.show(self.stage, self.step, self.num_steps, logs)
