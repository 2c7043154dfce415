"""StepCallback: counts the steps of all runs."""

import keras


class StepCallback(keras.callbacks.Callback):
    """A callback that counts the steps of all runs.

    The optimizer cannot be asked: it skips steps whose gradients overflow
    in float16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def go_on(self, step: int, figures: dict[str, float]) -> None:
        """Prepares for training that begins after a step.

        Args:
            step: number of steps that are done.
            figures: the last that were logged up to there, if any.
        """
        self.step = step

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.step += 1
        self.on_step(logs if logs is not None else {})

    def on_step(self, logs: dict[str, float]) -> None:
        """Called when `self.step` steps are done.

        Args:
            logs: figures of the step; what is added is logged with them.
        """
