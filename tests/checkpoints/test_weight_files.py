import json

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from realm_tf.checkpoints import presets
from realm_tf.checkpoints.weight_files import (
    check_storage,
    read_layer,
    round_layer,
    write_layers,
)
from realm_tf.errors import CheckpointError
from realm_tf.layers.embedder import Embedder


@pytest.fixture
def make_layer(make_backbone):
    def make(seed=0):
        layer = Embedder(make_backbone(), embedding_dim=8)
        presets.build(layer)
        rng = np.random.default_rng(seed)
        for weight in layer.weights:
            weight.assign(rng.normal(0, 0.1, weight.shape))
        return layer

    return make


@pytest.fixture
def make_backbone():
    import keras_hub

    def make():
        return keras_hub.models.BertBackbone(
            vocabulary_size=300,
            num_layers=1,
            num_heads=4,
            hidden_dim=64,
            intermediate_dim=128,
            max_sequence_length=16,
        )

    return make


def assert_same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_float32_comes_back_to_the_last_bit(make_layer, tmp_path):
    layer, copy = make_layer(), make_layer(seed=1)
    write_layers(tmp_path, {"part": layer}, "float32")
    read_layer(tmp_path, "part", copy)
    assert_same_weights(copy, layer)


def test_int8_is_a_quarter_and_near(make_layer, tmp_path):
    layer, copy = make_layer(), make_layer(seed=1)
    for storage in ("float32", "int8"):
        (tmp_path / storage).mkdir()
        write_layers(tmp_path / storage, {"part": layer}, storage)
    sizes = [
        (tmp_path / storage / "part.safetensors").stat().st_size
        for storage in ("float32", "int8")
    ]
    assert sizes[1] < 0.35 * sizes[0]
    read_layer(tmp_path / "int8", "part", copy)
    for weight, rounded in zip(layer.weights, copy.weights, strict=True):
        wide, narrow = weight.numpy(), rounded.numpy()
        half_step = np.abs(wide).max() / 127 / 2
        assert np.abs(wide - narrow).max() <= 1.001 * half_step
        if wide.ndim < 2:
            np.testing.assert_array_equal(wide, narrow)


def test_channels_have_scales_of_their_own(make_layer, tmp_path):
    layer, copy = make_layer(), make_layer(seed=1)
    table = layer.backbone.token_embedding.embeddings
    values = table.numpy()
    values[7] *= 1000
    table.assign(values)
    write_layers(tmp_path, {"part": layer}, "int8")
    read_layer(tmp_path, "part", copy)
    rounded = copy.backbone.token_embedding.embeddings.numpy()
    assert np.abs(rounded - values)[8:].max() < 0.01


def test_rounded_weights_are_rounded_to_themselves(make_layer, tmp_path):
    layer, copy = make_layer(), make_layer(seed=1)
    round_layer(layer)
    write_layers(tmp_path, {"part": layer}, "int8")
    read_layer(tmp_path, "part", copy)
    assert_same_weights(copy, layer)


def test_zeros_are_rounded_to_zeros(make_layer):
    layer = make_layer()
    for weight in layer.weights:
        weight.assign(keras.ops.zeros_like(weight))
    round_layer(layer)
    assert not any(weight.any() for weight in layer.get_weights())


def test_arrays_that_two_parts_share_are_written_once(make_layer, tmp_path):
    first, second = make_layer(), make_layer(seed=1)
    table = first.backbone.token_embedding.embeddings
    second.backbone.token_embedding.embeddings.assign(table)
    write_layers(tmp_path, {"first": first, "second": second}, "int8")
    shapes = [
        array.shape
        for array in load_file(tmp_path / "first.safetensors").values()
    ]
    assert (300, 64) in shapes
    shapes = [
        array.shape
        for array in load_file(tmp_path / "second.safetensors").values()
    ]
    assert (300, 64) not in shapes
    copy = make_layer(seed=2)
    read_layer(tmp_path, "second", copy)
    round_layer(second)
    assert_same_weights(copy, second)


# Keras says so before it refuses the file.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_a_file_of_another_layer_is_refused(make_layer, tmp_path):
    write_layers(tmp_path, {"part": make_layer()}, "float32")
    file = tmp_path / "part.safetensors"
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    arrays = load_file(file)
    arrays = {name: array[..., :1] for name, array in arrays.items()}
    save_file(arrays, file, metadata)
    with pytest.raises(ValueError, match="could not be loaded"):
        read_layer(tmp_path, "part", make_layer())


@pytest.mark.parametrize(
    "same",
    [
        "{",
        "[]",
        '{"a": 1}',
        '{"a": ["../part", "b"]}',
        json.dumps({str(i): ["part", "b"] for i in range(100)}),
    ],
)
def test_references_that_nobody_wrote_are_refused(make_layer, tmp_path, same):
    write_layers(tmp_path, {"part": make_layer()}, "float32")
    file = tmp_path / "part.safetensors"
    save_file(load_file(file), file, {"same_as": same})
    with pytest.raises(CheckpointError, match=r"part\.safetensors"):
        read_layer(tmp_path, "part", make_layer())


def test_a_cut_file_is_refused(make_layer, tmp_path):
    write_layers(tmp_path, {"part": make_layer()}, "float32")
    file = tmp_path / "part.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"part\.safetensors"):
        read_layer(tmp_path, "part", make_layer())


def test_an_unknown_storage_is_refused():
    with pytest.raises(ValueError, match="`storage` must be one of"):
        check_storage("int4")
