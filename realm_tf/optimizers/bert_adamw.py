"""The optimizer and the learning rate of BERT, ORQA and REALM."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from realm_tf._replicas import sum_over_replicas

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

NOT_DECAYED = ("LayerNorm", "layer_norm", "bias")
"""Parts of the paths of variables without weight decay (the BERT code)."""

_ONE_HOT = "segment_embedding"  # which the BERT code multiplies, not looks up


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


@keras.saving.register_keras_serializable(package="realm_tf")
class BertAdamW(keras.optimizers.Optimizer):
    """Adam of BERT: no bias correction, decoupled decay, clipped gradients.

    m = beta_1 m + (1 - beta_1) g
    v = beta_2 v + (1 - beta_2) g^2
    w = w - lr (m / (sqrt(v) + epsilon) + weight_decay w)

    `keras.optimizers.AdamW` divides m and v by 1 - beta^t, which makes its
    first steps several times larger, and matches names where decay is excluded
    by path. Keras also never sums the gradients of a table row that a batch
    looks up more than once, which gives such rows too small a variance.

    One detail differs from the original on purpose: under `tf.distribute`, the
    summed gradient is clipped, not each replica's.

    Args:
        learning_rate: float or `LearningRateSchedule`. Step k, counted from 0,
            uses lr(k).
        weight_decay: float. Defaults to 0.01.
        beta_1: float. Defaults to 0.9.
        beta_2: float. Defaults to 0.999.
        epsilon: float, outside of the square root. Defaults to 1e-6.
        global_clipnorm: float, or `None` for no clipping. Largest norm of all
            gradients together. Defaults to 1.0.
        official_clipping: in that norm, count each look-up of a table row by
            itself, as the original does for the wordpieces, in place of the
            row's summed gradient. Gradients that come summed, as those of
            tied tables, and those that Keras accumulates or scales
            (`gradient_accumulation_steps`, `loss_scale_factor`) are counted
            as they are. Defaults to True.
        not_decayed: strings. A variable is not decayed if its path contains
            one of them. Defaults to layer norms and biases.
        **kwargs: of `keras.optimizers.Optimizer`.

    Example:
    >>> schedule = WarmupLinearDecay(3e-5, num_train_steps=200_000)
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(optimizer=BertAdamW(schedule), loss="mse")

    Source: `optimization.py` of bert-tensorflow 1.0.4.
    """

    def __init__(
        self,
        learning_rate: Any = 3e-5,
        *,
        weight_decay: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        global_clipnorm: float | None = 1.0,
        official_clipping: bool = True,
        not_decayed: Sequence[str] = NOT_DECAYED,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            **kwargs,
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.official_clipping = official_clipping
        self.not_decayed = tuple(not_decayed)

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        has_strategy = tf is not None and tf.distribute.has_strategy()
        if self.gradient_accumulation_steps and has_strategy:
            raise ValueError(
                "`gradient_accumulation_steps` must be None under a "
                "distribution strategy, which Keras cannot combine. Received: "
                "gradient_accumulation_steps="
                f"{self.gradient_accumulation_steps}. Take a larger batch: the "
                "replicas share it."
            )
        # Keras' own patterns see only "gamma" of "layer_norm/gamma".
        is_excluded = re.compile("|".join(self.not_decayed) or "$^").search
        self.exclude_from_weight_decay(
            var_list=[v for v in variables if is_excluded(v.path)]
        )
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        # The gradient of a table is `IndexedSlices` with one row a lookup. A
        # row that occurs twice must be summed before the update squares it.
        if tf is not None:
            grads = self._summed(grads, trainable_variables)
        super().apply(grads, trainable_variables)

    def _summed(self, grads: Any, trainable_variables: Any) -> list[Any]:
        """Gradients without lookups, except those that clipping counts."""
        variables = trainable_variables or self._trainable_variables
        by_lookup = self.official_clipping and not (
            self.gradient_accumulation_steps or self.loss_scale_factor
        )
        return [
            g
            if g is None or (by_lookup and _ONE_HOT not in v.path)
            else tf.convert_to_tensor(g)
            for g, v in zip(grads, variables, strict=True)
        ]

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        lr = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        m = self._momentums[self._get_variable_index(variable)]
        v = self._velocities[self._get_variable_index(variable)]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        # Keras has applied the weight decay already.
        self.assign_sub(variable, lr * m / (ops.sqrt(v) + self.epsilon))

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if tf is None:
            return super()._clip_gradients(grads)
        return grads  # Not a replica's share of them: see below.

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        grads, variables = zip(*grads_and_vars, strict=True)
        dense = [g if g is None else tf.convert_to_tensor(g) for g in grads]
        summed = super()._all_reduce_sum_gradients(
            zip(dense, variables, strict=True)
        )
        dense = [gradient for gradient, _ in summed]
        if self.global_clipnorm and any(map(_is_looked_up, grads)):
            dense = self._clip_by_lookup(grads, dense)
        else:
            dense = super()._clip_gradients(dense)
        return list(zip(dense, variables, strict=True))

    def _clip_by_lookup(
        self, grads: Sequence[Any], summed: Sequence[Any]
    ) -> list[Any]:
        """Clips summed gradients; `grads` are this replica's."""
        squares = tf.add_n(
            [_sum_of_squares(g.values) for g in grads if _is_looked_up(g)]
        )
        context = tf.distribute.get_replica_context()
        if context is not None:
            squares = context.all_reduce(tf.distribute.ReduceOp.SUM, squares)
        squares += sum(
            _sum_of_squares(total)
            for gradient, total in zip(grads, summed, strict=True)
            if total is not None and not _is_looked_up(gradient)
        )
        norm = tf.sqrt(squares)
        # Not a number if the norm is none, as in TensorFlow and Keras.
        scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
        scale += norm - norm
        return [
            g if g is None else g * ops.cast(scale, g.dtype) for g in summed
        ]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "official_clipping": self.official_clipping,
            "not_decayed": list(self.not_decayed),
        }


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


def _is_looked_up(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)


def _sum_of_squares(gradient: Any) -> Any:
    return tf.reduce_sum(tf.square(tf.cast(gradient, tf.float32)))
