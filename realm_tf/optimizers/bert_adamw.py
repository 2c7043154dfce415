"""BertAdamW: the optimizer of BERT, ORQA and REALM."""

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
            row's summed gradient. Summed gradients, such as those of tied
            tables, and gradients that Keras accumulates or scales
            (`gradient_accumulation_steps`, `loss_scale_factor`) count
            unchanged. Defaults to True.
        not_decayed: strings. A variable is not decayed if its path contains
            one of them. Defaults to layer norms and biases.
        bias_correction: divide m and v by 1 - beta^t at step t, as Adam does.
            Without, as published, the first hundred steps are three to seven
            times as large, which matters to runs of some hundreds. Defaults
            to False.
        **kwargs: of `keras.optimizers.Optimizer`.

    Example:
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(optimizer=BertAdamW(3e-5), loss="mse")

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
        bias_correction: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            **kwargs,
        )
        self._clipnorm = global_clipnorm
        if tf is not None and not self.gradient_accumulation_steps:
            self.global_clipnorm = None  # Keras would clip each replica's.
        self._is_multiplied: tuple[bool, ...] = ()  # of all variables
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.official_clipping = official_clipping
        self.not_decayed = tuple(not_decayed)
        self.bias_correction = bias_correction

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
        self._is_multiplied = _are_multiplied(variables)

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        if tf is not None and (self.built or trainable_variables is not None):
            grads = self._prepared(grads, trainable_variables)
        super().apply(grads, trainable_variables)

    def _prepared(self, grads: Any, variables: Any) -> list[Any]:
        """Clipped gradients, without look-ups.

        The gradient of a table is `IndexedSlices` with one row a look-up. A
        row that occurs twice must be summed before the update squares it.
        """
        dense = [g if g is None else tf.convert_to_tensor(g) for g in grads]
        if not self._clipnorm or self.global_clipnorm:
            return dense
        looked_up = [False] * len(dense)
        if self.official_clipping and not self.loss_scale_factor:
            multiplied = self._is_multiplied
            if variables is not None:
                multiplied = _are_multiplied(variables)
            looked_up = [
                isinstance(gradient, tf.IndexedSlices) and not is_multiplied
                for gradient, is_multiplied in zip(
                    grads, multiplied, strict=True
                )
            ]
        return self._clipped(grads, dense, looked_up)

    def _clipped(
        self, grads: Any, dense: list[Any], looked_up: list[bool]
    ) -> list[Any]:
        """Clips by the norm of the sum over the replicas.

        Each replica returns its equal share of the clipped sum, for Keras to
        sum again.
        """
        places = [i for i, g in enumerate(dense) if g is not None]
        summed = list(dense)
        totals = sum_over_replicas([dense[i] for i in places])
        for i, total in zip(places, totals, strict=True):
            summed[i] = total
        by_lookup = [i for i in places if looked_up[i]]
        squares = tf.zeros(()) + sum(
            _sum_of_squares(summed[i]) for i in places if not looked_up[i]
        )
        if by_lookup:
            squares += sum_over_replicas(
                sum(_sum_of_squares(grads[i].values) for i in by_lookup)
            )
        norm = tf.sqrt(squares)
        largest = (self._clipnorm or 0.0) * (self.loss_scale_factor or 1.0)
        # Not a number if the norm is none, as in TensorFlow and Keras.
        scale = largest / tf.maximum(norm, largest)
        scale += norm - norm
        scale /= tf.distribute.get_strategy().num_replicas_in_sync
        for i in places:
            summed[i] *= tf.cast(scale, summed[i].dtype)
        return summed

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        lr = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        m = self._momentums[self._get_variable_index(variable)]
        v = self._velocities[self._get_variable_index(variable)]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        if self.bias_correction:
            step = ops.cast(self.iterations + 1, variable.dtype)
            m = m / (1 - ops.power(self.beta_1, step))
            v = v / (1 - ops.power(self.beta_2, step))
        # Keras has applied the weight decay already.
        self.assign_sub(variable, lr * m / (ops.sqrt(v) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "global_clipnorm": self._clipnorm,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "official_clipping": self.official_clipping,
            "not_decayed": list(self.not_decayed),
            "bias_correction": self.bias_correction,
        }


def _are_multiplied(variables: Sequence[keras.Variable]) -> tuple[bool, ...]:
    return tuple(_ONE_HOT in variable.path for variable in variables)


def _sum_of_squares(gradient: Any) -> Any:
    return tf.reduce_sum(tf.square(tf.cast(gradient, tf.float32)))
