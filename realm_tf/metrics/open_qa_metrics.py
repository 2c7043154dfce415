"""Metrics of open-domain question answering, for `compile`.

They look at logits and labels only; `evaluation/` looks at texts.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="realm_tf")
def exact_match(y_true: Any, y_pred: Any) -> Any:
    """1 where the best span of all blocks spells an answer.

    The original's `exact_match`, on wordpieces; `evaluation/` has the official
    one, on texts.

    Args:
        y_true: int `(batch, num_read, num_spans)`, see `MarginalLoss`.
        y_pred: float `(batch, num_read, num_spans)`, logits.

    Returns:
        float32 `(batch,)`.
    """
    y_true = ops.reshape(y_true, (ops.shape(y_true)[0], -1))
    y_pred = ops.reshape(y_pred, (ops.shape(y_pred)[0], -1))
    best = ops.expand_dims(ops.argmax(y_pred, axis=-1), axis=-1)
    hit = ops.take_along_axis(y_true, best, axis=-1)[:, 0]
    return ops.cast(hit > 0, "float32")


@keras.saving.register_keras_serializable(package="realm_tf")
def reader_oracle(y_true: Any, y_pred: Any) -> Any:
    """1 where any block that is read spells an answer: the reader's ceiling.

    Args:
        y_true: int `(batch, num_read, num_spans)`, see `MarginalLoss`.
        y_pred: ignored.

    Returns:
        float32 `(batch,)`.
    """
    return ops.cast(ops.any(y_true > 0, axis=(1, 2)), "float32")


@keras.saving.register_keras_serializable(package="realm_tf")
class AnswerRecallAtK(keras.metrics.MeanMetricWrapper):
    """Share of questions with an answer-bearing block among the best `k`.

    Args:
        k: int. Best blocks by the current logits.
        name: str. Defaults to `answer_recall_at_{k}`.
        dtype: of `keras.metrics.Metric`.

    Example:
    >>> metric = AnswerRecallAtK(1)
    >>> metric.update_state([[0, 1], [1, 0]], [[0.1, 0.2], [0.1, 0.2]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, k: int, name: str | None = None, dtype: Any = None):
        name = name or f"answer_recall_at_{k}"
        super().__init__(self._hits, name=name, dtype=dtype)
        self.k = k

    def _hits(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.convert_to_tensor(y_true)
        y_pred = ops.convert_to_tensor(y_pred)
        logits = ops.where(y_true < 0, float("-inf"), y_pred)
        k = min(self.k, y_pred.shape[-1] or self.k)
        _, best = ops.top_k(logits, k)
        hits = ops.take_along_axis(y_true, best, axis=-1) > 0
        return ops.cast(ops.any(hits, axis=-1), "float32")

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, "name": self.name, "dtype": self.dtype}
