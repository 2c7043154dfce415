"""Sums and gathers over the replicas of `tf.distribute`, with gradients.

Outside of a strategy, and with other backends, there is one replica.
"""

from typing import Any

import keras
from keras import ops


def sum_over_replicas(x: Any) -> Any:
    """The sum of `x` over all replicas, the same on each."""
    context = _context()
    return x if context is None else context.all_reduce("sum", x)


def gather_over_replicas(x: Any) -> tuple[Any, Any]:
    """The rows of all replicas, and the number of those before one's own.

    Each replica puts its rows into zeros, and the sum of these is gathered:
    that works on every kind of device, and its gradient is a sum too.

    Args:
        x: tensor `(rows, ...)`, of the same shape on every replica.

    Returns:
        tensor `(num_replicas * rows, ...)`; int32 scalar.
    """
    context = _context()
    if context is None:
        return x, 0
    number = context.replica_id_in_sync_group
    own = ops.one_hot(number, context.num_replicas_in_sync, dtype=x.dtype)
    own = ops.reshape(own, (-1,) + (1,) * len(x.shape))
    shares = own * ops.expand_dims(x, 0)
    gathered = context.all_reduce("sum", shares)
    rows = ops.shape(x)[0]
    return ops.reshape(gathered, (-1,) + ops.shape(x)[1:]), number * rows


def weighted_mean(values: Any, weights: Any) -> tuple[Any, Any]:
    """Mean over the batches of all replicas, and the sum of its weights.

    For metrics; see `share_of_mean` for losses.
    """
    weights = ops.cast(weights, "float32")
    total = sum_over_replicas(ops.sum(weights))
    values = sum_over_replicas(ops.sum(ops.cast(values, "float32") * weights))
    return values / ops.where(total > 0, total, 1.0), total


def share_of_mean(values: Any, weights: Any) -> Any:
    """This replica's part of the mean over the batches of all replicas.

    The parts sum to the mean, and so do their gradients: it is the loss of a
    replica, without the scaling that Keras does for its own losses.
    """
    weights = ops.cast(weights, "float32")
    total = sum_over_replicas(ops.sum(weights))
    return ops.sum(values * weights) / ops.where(total > 0, total, 1.0)


def check_fit(model: keras.Model) -> None:
    """Refuses options that Keras' `fit` does not support.

    Raises:
        ValueError: under a strategy of several hosts; and for what
            `check_replicas` refuses.
    """
    if keras.backend.backend() != "tensorflow":
        return
    name = type(model.distribute_strategy).__name__
    if "MultiWorker" in name or "CollectiveAllReduce" in name:
        raise ValueError(
            "`fit` must not be used on several hosts, where Keras cannot "
            f"train. Received: strategy={name}. Use "
            "`realm_tf.training.pretraining.pretrain`."
        )
    check_replicas(model)


def check_replicas(model: keras.Model) -> None:
    """Refuses options that Keras does not support on several replicas.

    Raises:
        ValueError: with `jit_compile` under a strategy of several replicas;
            with an optimizer that accumulates gradients under any of these or
            a `MirroredStrategy`.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    name = type(strategy).__name__
    if strategy.num_replicas_in_sync > 1 and model.jit_compile is True:
        raise ValueError(
            "`jit_compile` must not be True under a strategy, which Keras "
            f"cannot combine. Received: strategy={name}. Compile with "
            "`jit_compile=False`."
        )
    # Keras asks for replicas inside a condition, even where there is one.
    is_mirrored = isinstance(strategy, tf.distribute.MirroredStrategy)
    accumulated = _accumulation_steps(model)
    if accumulated and (strategy.num_replicas_in_sync > 1 or is_mirrored):
        raise ValueError(
            "`gradient_accumulation_steps` must be None under a strategy, "
            "which Keras cannot combine. Received: "
            f"gradient_accumulation_steps={accumulated}, strategy={name}. Take "
            "a larger batch: the replicas share it."
        )


def _accumulation_steps(model: keras.Model) -> int | None:
    # There is none before `compile`, which `fit` itself complains of.
    optimizer = getattr(model, "optimizer", None)
    # A `LossScaleOptimizer` leaves it to the one that it scales for.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return getattr(optimizer, "gradient_accumulation_steps", None)


def _context() -> Any:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    # None while a model is built: then there are no values to sum.
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context
