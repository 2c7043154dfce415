"""The marginal loss as a Keras loss, for `compile`."""

import keras
from keras import ops

from realm_tf.losses.orqa_losses import masked_marginal_loss


@keras.saving.register_keras_serializable(package="realm_tf")
class MarginalLoss(keras.losses.Loss):
    """-log of the probability that any positive choice has; in nats.

    All axes but the first are choices of one softmax. An example without a
    positive has a loss of 0. Used for the retrieval loss of ORQA (choices are
    blocks) and for its reader loss (choices are the spans of all blocks).

    Call arguments:
        y_true: int tensor `(batch, ...)`. 1 = positive, 0 = another choice,
            -1 = not a choice at all.
        y_pred: float tensor `(batch, ...)`, logits.

    Example:
    >>> loss = MarginalLoss()
    >>> float(loss([[1, 0, -1]], [[0.0, 0.0, 9.0]]))  # -log(1 / 2)
    0.6931...

    Source: Lee et al., 2019, section 7 (arXiv:1906.00300).
    """

    def __init__(
        self, reduction="sum_over_batch_size", name="marginal_loss", dtype=None
    ):
        # Half precision would round logits of -1e9 to -inf.
        super().__init__(
            reduction=reduction, name=name, dtype=dtype or "float32"
        )

    def call(self, y_true, y_pred):
        y_true = ops.reshape(y_true, (ops.shape(y_true)[0], -1))
        y_pred = ops.reshape(y_pred, (ops.shape(y_pred)[0], -1))
        return masked_marginal_loss(y_pred, y_true > 0, mask=y_true >= 0)
