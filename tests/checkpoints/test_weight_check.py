import keras
import keras_hub
import ml_dtypes
import numpy as np
import pytest

from realm_tf.checkpoints.weight_check import (
    check_floats,
    check_layer,
    check_size,
    check_weights,
)
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


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.bool_])
def test_weights_must_be_floats(dtype):
    with pytest.raises(CheckpointError, match="Received: bias of type .* in f"):
        check_floats("bias", np.zeros(2, dtype), "file")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_floats_may_be_of_any_size(dtype):
    check_floats("bias", np.zeros(2, dtype), "file")


BERT_BASE = {
    "vocabulary_size": 30_522,
    "max_sequence_length": 512,
    "num_segments": 2,
    "num_layers": 12,
    "hidden_dim": 768,
    "intermediate_dim": 3_072,
}


@pytest.mark.parametrize("name", [*BERT_BASE, "head_dim"])
def test_settings_of_a_much_larger_model_are_refused(name):
    check_size(BERT_BASE, 110_000_000, "file")
    with pytest.raises(CheckpointError, match="as large as its weights"):
        check_size(BERT_BASE | {name: 10**7}, 110_000_000, "file")


def test_sizes_are_those_of_the_backbone():
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=5_000,
        num_layers=2,
        num_heads=2,
        hidden_dim=512,
        intermediate_dim=1_024,
        max_sequence_length=512,
    )
    config = backbone.get_config()
    size = backbone.count_params()
    with pytest.raises(CheckpointError, match=f"settings of {size:,} weights"):
        check_size(config, 1_000, "file")
