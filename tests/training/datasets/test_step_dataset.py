import numpy as np
import tensorflow as tf

from realm_tf.training.datasets.step_dataset import StepDataset


class Squares(StepDataset):
    signature = {"x": tf.TensorSpec([1], tf.int32)}

    def batch(self, step):
        return {"x": np.array([step**2], np.int32)}

    def batch_ids(self, step):
        return np.array([step])


def test_dataset_holds_the_steps_from_start_to_end():
    dataset = Squares().as_dataset(2, 5)
    assert int(dataset.cardinality()) == 3
    for _ in range(2):
        found = [int(x["x"][0]) for x in dataset.as_numpy_iterator()]
        assert found == [4, 9, 16]
