"""WarmupLinearDecay: the learning rate of BERT, ORQA and REALM."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="realm_tf")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises from 0 and then falls to 0, both linearly.

    lr(t) = lr0 t / w before step w, then lr0 (1 - t / T), and 0 after step T.

    The decay is counted from step 0, so the rate drops a little at step w:
    from 3.0e-5 to 2.85e-5 for w = 10,000 of T = 200,000 steps.

    Args:
        initial_learning_rate: float, lr0.
        num_train_steps: int, T, in steps.
        num_warmup_steps: int, w, in steps. Defaults to a tenth of
            `num_train_steps`, but at least 100 and at most 10,000 (the ORQA
            and REALM code).

    Raises:
        ValueError: if `num_train_steps` is not positive or
            `num_warmup_steps` is negative.

    Example:
    >>> schedule = WarmupLinearDecay(0.1, 20, num_warmup_steps=5)
    >>> [round(float(schedule(step)), 3) for step in (0, 4, 5, 20)]
    [0.0, 0.08, 0.075, 0.0]

    Source: `optimization.py` of bert-tensorflow 1.0.4.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        num_train_steps: int,
        num_warmup_steps: int | None = None,
    ):
        if num_train_steps < 1:
            raise ValueError(
                "`num_train_steps` must be at least 1. Received: "
                f"num_train_steps={num_train_steps}. Count optimizer steps: "
                "examples x epochs / batch size."
            )
        if num_warmup_steps is None:
            num_warmup_steps = min(10_000, max(100, num_train_steps // 10))
        if num_warmup_steps < 0:
            raise ValueError(
                "`num_warmup_steps` must not be negative. Received: "
                f"num_warmup_steps={num_warmup_steps}. Pass 0 to start at "
                "`initial_learning_rate`."
            )
        self.initial_learning_rate = initial_learning_rate
        self.num_train_steps = num_train_steps
        self.num_warmup_steps = num_warmup_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        # Without warm-up no step is below 0, so the divisor is free.
        warmup = step / max(self.num_warmup_steps, 1)
        decay = ops.maximum(1.0 - step / self.num_train_steps, 0.0)
        is_warmup = step < self.num_warmup_steps
        return self.initial_learning_rate * ops.where(is_warmup, warmup, decay)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "num_train_steps": self.num_train_steps,
            "num_warmup_steps": self.num_warmup_steps,
        }
