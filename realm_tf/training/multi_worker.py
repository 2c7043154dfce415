"""Training on several devices and hosts; Keras' `fit` works on one host alone.

Every host runs the same program, with `TF_CONFIG` in its environment; see
`tf.distribute.MultiWorkerMirroredStrategy`. Files are written by the first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from realm_tf._replicas import check_replicas, sum_over_replicas
from realm_tf.training.datasets.step_dataset import StepDataset


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy spans several hosts."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this host writes the files; true where there is no other."""
    if not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_type in (None, "chief") or (
        resolver.task_type == "worker" and resolver.task_id == 0
    )


def num_rows(data: StepDataset) -> int:
    """Rows of a batch."""
    return next(iter(data.signature.values())).shape[0]


def check_parts(num_rows: int, num_replicas: int) -> None:
    """Refuses a batch of which replicas would get unequal parts, or none.

    Their losses would be weighed as if the parts were equal.

    Raises:
        ValueError: if it does not divide.
    """
    if num_rows % num_replicas:
        raise ValueError(
            "A batch must have equal parts for all replicas. Received: "
            f"batch_size={num_rows}, {num_replicas} replicas. Choose a "
            "multiple."
        )


def fit_steps(
    model: keras.Model,
    data: StepDataset,
    start: int,
    end: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """As `model.fit`, from one step to another, under a strategy.

    Args:
        model: compiled, with its weights built, in the scope of the strategy.
        data: `StepDataset`, the same on every host, which takes its own rows.
        start: first step.
        end: step after the last.
        callbacks: told of the end of every step.

    Raises:
        ValueError: if the batch does not divide into equal parts, or for what
            `check_replicas` refuses.
    """
    check_replicas(model)
    strategy = model.distribute_strategy
    num_replicas = strategy.num_replicas_in_sync

    def local_rows(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = num_replicas // context.num_input_pipelines
        first = context.input_pipeline_id * count
        return _parts(
            data, start, end, range(first, first + count), num_replicas
        )

    batches = iter(strategy.distribute_datasets_from_function(local_rows))

    @tf.function
    def train_step(batch: Any) -> Any:
        return strategy.run(model.train_step, args=(batch,))

    @tf.function
    def count_stops(stop: tf.Tensor) -> Any:
        # `identity` brings it to a device, which the sum needs.
        return strategy.run(lambda: sum_over_replicas(tf.identity(stop)))

    def any_stops(stop: bool) -> bool:
        """Whether a host stops: the others would wait for it for ever."""
        if not is_multi_worker(strategy):
            return stop
        count = count_stops(tf.constant(int(stop)))
        return any(strategy.experimental_local_results(count))

    listeners = keras.callbacks.CallbackList(list(callbacks), model=model)
    listeners.on_train_begin()
    model.stop_training = False
    model.reset_metrics()
    for number in range(end - start):
        results = train_step(next(batches))
        logs = {
            name: float(strategy.reduce("MEAN", value, axis=None))
            for name, value in results.items()
        }
        listeners.on_train_batch_end(number, logs)
        model.stop_training = any_stops(model.stop_training)
        if model.stop_training:
            break
    listeners.on_train_end()


def _parts(
    data: StepDataset, start: int, end: int, parts: range, num_parts: int
) -> tf.data.Dataset:
    """Batches of some replicas: of each step one after the other."""
    rows = num_rows(data)
    check_parts(rows, num_parts)
    size = rows // num_parts

    def batches() -> Iterator[Any]:
        for step in range(start, end):
            batch = data.batch(step)
            for part in parts:
                own = slice(part * size, (part + 1) * size)
                yield {name: value[own] for name, value in batch.items()}

    signature = {
        name: tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)
        for name, spec in data.signature.items()
    }
    dataset = tf.data.Dataset.from_generator(
        batches, output_signature=signature
    )
    return dataset.prefetch(len(parts))
