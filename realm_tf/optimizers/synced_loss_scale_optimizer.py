"""SyncedLossScaleOptimizer: float16 under a distribution strategy."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from realm_tf._replicas import sum_over_replicas


@keras.saving.register_keras_serializable(package="realm_tf")
class SyncedLossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16; all replicas leave a step out, or none.

    Keras asks the first replica alone whether its gradients are finite, as if
    they had been summed. Those of another one may have overflowed.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`.
        **kwargs: of `keras.optimizers.LossScaleOptimizer`.
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether the gradients of all replicas are."""
        is_finite = super().check_finite(grads)
        num_overflows = sum_over_replicas(1.0 - ops.cast(is_finite, "float32"))
        return ops.equal(num_overflows, 0.0)
