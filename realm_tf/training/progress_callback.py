"""ProgressCallback: passes the steps of `fit` on."""

import keras

from realm_tf._progress import Progress


class ProgressCallback(keras.callbacks.Callback):
    """Calls a `Progress` after each step.

    Args:
        stage: name of what is trained.
        num_steps: steps of all epochs.
        progress: `Progress`.
    """

    def __init__(self, stage: str, num_steps: int, progress: Progress):
        super().__init__()
        self.stage = stage
        self.num_steps = num_steps
        self.progress = progress
        self.step = 0

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        self.progress(self.stage, self.step, self.num_steps, logs or {})
