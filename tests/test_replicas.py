import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf import _replicas as replicas


def run(strategy, function):
    """Values of both replicas; the first one is told 0, the second 1."""
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            float(context.replica_id_in_sync_group), tf.float32
        )
    )
    results = tf.function(
        lambda: strategy.run(function, args=(values,)), autograph=False
    )()
    return tf.nest.map_structure(strategy.experimental_local_results, results)


def test_sum_and_mean_are_over_all_replicas(strategy):
    total = run(strategy, lambda i: replicas.sum_over_replicas(i + 1.0))
    np.testing.assert_array_equal(total, [3.0, 3.0])
    # Values 1 (weight 3) and 2 (weight 1): (3 + 2) / 4.
    mean, weight = run(
        strategy,
        lambda i: replicas.weighted_mean(
            tf.reshape(i + 1, [1]), tf.reshape(3.0 - 2 * i, [1])
        ),
    )
    np.testing.assert_allclose(mean, [1.25, 1.25])
    np.testing.assert_allclose(weight, [4.0, 4.0])
    shares = run(
        strategy,
        lambda i: replicas.share_of_mean(
            tf.reshape(i + 1, [1]), tf.reshape(3.0 - 2 * i, [1])
        ),
    )
    np.testing.assert_allclose(shares, [0.75, 0.5])


def test_rows_are_gathered_in_order_with_gradients(strategy):
    def gather(i):
        own = tf.stack([[i, 1.0], [i, 2.0]])
        with tf.GradientTape() as tape:
            tape.watch(own)
            rows, first = replicas.gather_over_replicas(own)
            # Replica 1 weighs what it sees ten times as much.
            loss = tf.reduce_sum(rows) * (1.0 + 9.0 * i)
        return rows, first, tape.gradient(loss, own)

    rows, first, gradient = run(strategy, gather)
    for seen in rows:
        np.testing.assert_array_equal(seen, [[0, 1], [0, 2], [1, 1], [1, 2]])
    assert [int(number) for number in first] == [0, 2]
    for own in gradient:
        np.testing.assert_array_equal(own, np.full((2, 2), 11.0))


def test_integers_are_gathered(strategy):
    rows, _ = run(
        strategy,
        lambda i: replicas.gather_over_replicas(
            tf.stack([tf.cast(i, tf.int32), 2**31 - 2])
        ),
    )
    for seen in rows:
        np.testing.assert_array_equal(seen, [0, 2**31 - 2, 1, 2**31 - 2])


def test_one_replica_keeps_what_it_has():
    x = tf.constant([[1.0], [2.0]])
    assert replicas.sum_over_replicas(x) is x
    rows, first = replicas.gather_over_replicas(x)
    assert rows is x and first == 0


def test_mean_of_nothing_is_zero():
    mean, total = replicas.weighted_mean([1.0], [0.0])
    assert (float(mean), float(total)) == (0.0, 0.0)
    assert float(replicas.share_of_mean([1.0], [0.0])) == 0.0


class Model:
    def __init__(self, strategy, jit_compile=True, optimizer=None):
        self.distribute_strategy = strategy
        self.jit_compile = jit_compile
        if optimizer is not None:
            self.optimizer = optimizer


def test_t10_what_fit_cannot_do_is_refused(strategy):
    replicas.check_fit(Model(tf.distribute.get_strategy()))
    with pytest.raises(ValueError, match="jit_compile"):
        replicas.check_fit(Model(strategy))

    class MultiWorkerMirroredStrategy:
        num_replicas_in_sync = 2

    with pytest.raises(ValueError, match="pretraining.pretrain"):
        replicas.check_fit(Model(MultiWorkerMirroredStrategy()))


@pytest.mark.parametrize("is_scaled", [False, True])
def test_accumulated_gradients_are_refused_under_a_strategy(
    is_scaled, strategy
):
    def make(steps):
        optimizer = keras.optimizers.SGD(gradient_accumulation_steps=steps)
        if is_scaled:
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    alone = tf.distribute.MirroredStrategy(["CPU:0"])
    for replicated in (strategy, alone):
        with pytest.raises(ValueError, match="steps=2.*Take a larger batch"):
            replicas.check_fit(Model(replicated, False, make(2)))
    replicas.check_fit(Model(strategy, False, make(None)))
    default = tf.distribute.get_strategy()
    replicas.check_fit(Model(default, False, make(2)))
