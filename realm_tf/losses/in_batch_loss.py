"""InBatchLoss: the blocks of a batch are the negatives of each other."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="realm_tf")
class InBatchLoss(keras.losses.Loss):
    """-log of the probability of the row's source block; in nats.

    Call arguments:
        y_true: tensor `(batch, num_questions)`. 1 = a question, 0 = padding.
        y_pred: float tensor `(batch, num_questions, batch * num_blocks)`, see
            `DualEncoder`.

    Example:
    >>> loss = InBatchLoss()
    >>> logits = [[[0.0, 0.0]], [[0.0, 0.0]]]  # two blocks, a question each
    >>> float(loss([[1], [1]], logits))  # -log(1 / 2)
    0.6931...
    """

    def __init__(
        self, reduction="sum_over_batch_size", name="in_batch_loss", dtype=None
    ):
        super().__init__(
            reduction=reduction, name=name, dtype=dtype or "float32"
        )

    def call(self, y_true, y_pred):
        log_probs = ops.log_softmax(y_pred, axis=-1)
        num_rows, _, num_columns = ops.shape(y_pred)
        own = own_block_mask(num_rows, num_columns)[:, None]
        loss = -ops.sum(ops.where(own, log_probs, 0.0), axis=-1)
        weights = ops.cast(y_true, loss.dtype)
        total = ops.sum(loss * weights, axis=-1)
        return total / ops.maximum(ops.sum(weights, axis=-1), 1.0)


def own_block_mask(num_rows, num_columns):
    """Where the block of each row is: `(num_rows, num_columns)`."""
    columns = ops.arange(num_rows) * (num_columns // num_rows)
    return columns[:, None] == ops.arange(num_columns)
