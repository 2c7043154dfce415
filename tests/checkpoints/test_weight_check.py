import keras
import ml_dtypes
import numpy as np
import pytest

from realm_tf.checkpoints.weight_check import check_layer, check_weights
from realm_tf.errors import CheckpointError


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65_600.0, -1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_numbers_that_no_model_can_use_are_refused(bad, dtype):
    array = np.zeros((3, 4), dtype)
    array[1, 2] = bad
    with pytest.raises(CheckpointError, match="in bias of file. Take a check"):
        check_weights([("fine", np.ones(2)), ("bias", array)], "file")


@pytest.mark.parametrize(
    "value", [65_504.0, np.zeros((0, 2)), np.array(["text"]), 70_000]
)
def test_other_values_are_left_alone(value):
    check_weights([("a", value)], "file")


def test_the_weights_of_a_layer_are_checked():
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    check_layer(layer, "file")
    layer.bias.assign([0.0, np.nan])
    with pytest.raises(CheckpointError, match="nan in .*bias of file"):
        check_layer(layer, "file")
