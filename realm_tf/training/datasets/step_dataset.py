"""StepDataset: the batch of every step, so that training can resume."""

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.training.datasets.epoch_dataset import as_dataset


class StepDataset(abc.ABC):
    """Abstract: a dataset whose batch is a function of the step.

    The state of such data is the number of the next step, and nothing else.
    """

    steps_per_epoch: int
    """Number of steps in which every block has its turn."""

    @abc.abstractmethod
    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Features of the batch of a step, counted from 0."""

    @abc.abstractmethod
    def batch_ids(self, step: int) -> np.ndarray:
        """Block ids that identify a batch."""

    @property
    def sizes(self) -> dict[str, int]:
        """What decides how much memory a step needs; see `memory`."""
        return {}

    @property
    def description(self) -> dict[str, Any]:
        """JSON values that tell these batches from those of other data."""
        return {}

    def figures(self, step: int) -> dict[str, float]:
        """What is to be logged of the batch of a step; asked for once."""
        return {}

    @property
    @abc.abstractmethod
    def signature(self) -> dict[str, tf.TensorSpec]:
        """Shapes and types of `batch`."""

    def as_dataset(self, start: int, end: int) -> tf.data.Dataset:
        """The batches of the steps from `start` up to, not including, `end`.

        Returns:
            `tf.data.Dataset` of features.
        """

        def batches() -> Iterator[Any]:
            return map(self.batch, range(start, end))

        return as_dataset(batches, self.signature, end - start)
