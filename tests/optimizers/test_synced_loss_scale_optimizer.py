import keras
import numpy as np
import tensorflow as tf

from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.synced_loss_scale_optimizer import (
    SyncedLossScaleOptimizer,
)


def test_optimizer_works_behind_loss_scaling(fitted_model):
    plain = fitted_model(BertAdamW(0.1))
    scaled = fitted_model(SyncedLossScaleOptimizer(BertAdamW(0.1)))
    for expected, weight in zip(plain.weights, scaled.weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)


def test_a_step_that_overflows_on_any_replica_is_left_out_on_all(strategy):
    with strategy.scope():
        variable = keras.Variable(np.ones(1, "float32"))
        optimizer = SyncedLossScaleOptimizer(BertAdamW(0.1))
        optimizer.build([variable])

    @tf.function
    def step(gradients):
        def apply():
            context = tf.distribute.get_replica_context()
            own = gradients[context.replica_id_in_sync_group]
            optimizer.apply([own], [variable])

        strategy.run(apply)

    for gradients in ([[np.inf], [0.0]], [[0.0], [np.nan]], [[0.0], [1.0]]):
        before = np.array(variable)
        step(tf.constant(gradients))
        is_finite = np.isfinite(gradients).all()
        assert (np.array(variable) != before).all() == is_finite
        copies = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(*(copy.numpy() for copy in copies))
