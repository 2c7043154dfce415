import numpy as np
import tensorflow as tf

from realm_tf.training.datasets.epoch_dataset import EpochDataset, as_dataset


class Tens(EpochDataset):
    """Three batches, which tell epoch and place."""

    num_batches = 3
    batch_size = 1

    def as_dataset(self, first=0):
        spec = tf.TensorSpec((), tf.int32)
        return as_dataset(self._batches, spec, self.num_batches, first)

    def _batches(self):
        epoch = self.next_epoch()
        return (np.int32(10 * epoch + i) for i in range(3))


def read(dataset):
    return [int(x) for x in dataset]


def test_every_iteration_is_the_next_epoch():
    dataset = Tens().as_dataset()
    assert read(dataset) == [0, 1, 2]
    assert read(dataset) == [10, 11, 12]


def test_an_epoch_that_is_named_is_repeated():
    tens = Tens()
    tens.begin(4)
    assert read(tens.as_dataset()) == read(tens.as_dataset()) == [40, 41, 42]


def test_first_batches_are_left_out():
    dataset = Tens().as_dataset(2)
    assert read(dataset) == [2]
    assert dataset.cardinality() == 1


def test_there_is_no_state_beside_the_epoch():
    tens = Tens()
    assert tens.state() == {}
    tens.restore({})
    assert read(tens.as_dataset()) == [0, 1, 2]
