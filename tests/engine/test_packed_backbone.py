import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine.packed_backbone import PackedBackbone, PackedTokens
from realm_tf.engine.padded_backbone import PaddedBackbone

LENGTHS = [5, 1, 40, 17, 33]


def make_backbone(dtype="float32", num_layers=2):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=40,
        dropout=0.0,
        dtype=dtype,
    )
    rng = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    return backbone


def make_features(lengths):
    rng = np.random.default_rng(1)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype("i4")
    return {
        "token_ids": mask * rng.integers(1, 50, mask.shape, np.int32),
        "segment_ids": mask * rng.integers(0, 2, mask.shape, np.int32),
        "padding_mask": mask,
    }


def states_of(runner, features):
    compiled = tf.function(
        lambda features: runner(PackedTokens.of(features)), autograph=False
    )
    return compiled({n: tf.constant(v) for n, v in features.items()}).numpy()


def states_of_layer(backbone, features):
    states = backbone(features, training=False)["sequence_output"]
    states = tf.cast(states, tf.float32).numpy()
    return states[features["padding_mask"] > 0]


@pytest.mark.parametrize("lengths", [LENGTHS, [7], [40, 40]])
@pytest.mark.parametrize("runner_class", [PackedBackbone, PaddedBackbone])
def test_states_are_those_of_the_layer(runner_class, lengths):
    backbone, features = make_backbone(), make_features(lengths)
    states = states_of(runner_class(backbone), features)
    assert states.dtype == np.float32
    want = states_of_layer(backbone, features)
    np.testing.assert_allclose(states, want, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_near_the_layer(dtype):
    features = make_features(LENGTHS)
    exact = states_of_layer(make_backbone(), features)
    backbone = make_backbone(dtype)
    states = states_of(PackedBackbone(backbone), features)
    layer = states_of_layer(backbone, features)
    # Not further from float32 than the layer, whose sums are rounded too.
    assert abs(states - exact).mean() < 1.1 * abs(layer - exact).mean()


def test_tokens_stand_row_after_row():
    tokens = PackedTokens.of(make_features([2, 0, 3]))
    assert tokens.rows.numpy().tolist() == [0, 0, 2, 2, 2]
    assert tokens.positions.numpy().tolist() == [0, 1, 0, 1, 2]
    assert tokens.lengths.numpy().tolist() == [2, 0, 3]


def test_copies_follow_the_weights_after_a_refresh():
    backbone, features = make_backbone("mixed_bfloat16"), make_features([9])
    runner = PackedBackbone(backbone)
    before = states_of(runner, features)
    kernel = backbone.transformer_layers[1].weights[-2]
    assert kernel.path.endswith("feedforward_output_dense/kernel")
    kernel.assign(kernel + 1.0)
    np.testing.assert_array_equal(states_of(runner, features), before)
    runner.refresh()
    want = states_of(PackedBackbone(backbone), features)
    np.testing.assert_array_equal(states_of(runner, features), want)
    assert abs(want - before).max() > 0


def test_float32_has_no_copies():
    backbone = make_backbone()
    runner = PackedBackbone(backbone)
    runner.refresh()
    assert not [v for v in runner.variables if "copy" in v.name.lower()]
    features = make_features([9])
    kernel = backbone.transformer_layers[0].weights[-2]
    kernel.assign(kernel + 1.0)
    np.testing.assert_allclose(
        states_of(runner, features),
        states_of_layer(backbone, features),
        atol=1e-5,
    )
