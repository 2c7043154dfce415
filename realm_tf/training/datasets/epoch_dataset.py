"""EpochDataset: batches in epochs, each of which can be repeated."""

import abc
import functools
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class EpochDataset(abc.ABC):
    """Abstract: batches whose order is a function of the epoch.

    Attributes:
        epoch: number of the current epoch, see `begin`. With None, every
            iteration is the next epoch.
        batch_size: rows in a batch.
    """

    epoch: int | None
    batch_size: int

    def __init__(self) -> None:
        self.epoch = None
        self._num_epochs = 0

    @property
    @abc.abstractmethod
    def num_batches(self) -> int:
        """Batches in an epoch."""

    @abc.abstractmethod
    def as_dataset(self, first: int = 0) -> tf.data.Dataset:
        """One epoch; each epoch has another order.

        Args:
            first: number of batches that are left out at its start.
        """

    def begin(self, epoch: int) -> None:
        """Makes an epoch that of all iterations, until the next one begins.

        To be called before its first step: TensorFlow changes weights (by
        weight decay) while the batch of a step is still to be made.

        Args:
            epoch: its number.
        """
        self.epoch = epoch

    def next_epoch(self) -> int:
        """Number of the epoch of an iteration."""
        if self.epoch is not None:
            return self.epoch
        self._num_epochs += 1
        return self._num_epochs - 1

    def state(self) -> Mapping[str, npt.ArrayLike]:
        """What the batches of the current epoch depend on, beside the epoch."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` returned, before the epoch is resumed."""
        return  # there is none, unless a class has its own


def as_dataset(
    batches: Callable[[], Iterator[Any]],
    signature: Any,
    num_batches: int,
    first: int = 0,
) -> tf.data.Dataset:
    """A generator of batches as a dataset of known length.

    Args:
        batches: makes an iterator over all batches.
        signature: shapes and types of a batch.
        num_batches: how many batches there are.
        first: number of batches that are left out at the start.
    """
    # TensorFlow keeps a generator, and with it data, embedder and index, until
    # the process ends. The dataset keeps it in its place.
    kept = functools.partial(batches)
    reference: Any = weakref.ref(kept)
    dataset = tf.data.Dataset.from_generator(
        lambda: itertools.islice(reference()(), first, None),
        output_signature=signature,
    )
    dataset.kept = kept
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(num_batches - first)
    )
    # Rows were drawn from one snapshot, so replicas may share batches, but
    # files to split there are none.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return dataset.with_options(options).prefetch(2)
