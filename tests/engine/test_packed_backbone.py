import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine.packed_backbone import PackedBackbone, PackedTokens
from realm_tf.engine.padded_backbone import PaddedBackbone

LENGTHS = [5, 1, 40, 17, 33]


def make_backbone(dtype="float32", num_layers=2, dropout=0.0):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=40,
        dropout=dropout,
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


def loss_and_gradients(run, backbone, features):
    weights = [w.value for w in backbone.trainable_variables]
    mask = tf.cast(features["padding_mask"], tf.float32)[..., None]

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            outputs = run(features, training=True)
            states = tf.cast(outputs["sequence_output"], tf.float32) * mask
            loss = tf.reduce_sum(tf.sin(3.0 * states))
            loss += tf.reduce_sum(tf.cast(outputs["pooled_output"], tf.float32))
        gradients = tape.gradient(loss, weights)
        return loss, [tf.convert_to_tensor(g) for g in gradients]

    return compute()


@pytest.mark.parametrize("lengths", [LENGTHS, [40, 40]])
def test_training_has_the_gradients_of_the_layer(lengths):
    backbone, features = make_backbone(), make_features(lengths)
    packed = PackedBackbone(backbone, copy_kernels=False).padded
    loss, got = loss_and_gradients(packed, backbone, features)
    want_loss, want = loss_and_gradients(backbone, backbone, features)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    for variable, ours, theirs in zip(
        backbone.trainable_variables, got, want, strict=True
    ):
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-3, atol=2e-4, err_msg=variable.path
        )


def test_training_in_half_precision_follows_the_weights():
    backbone, features = make_backbone("mixed_bfloat16"), make_features([9])
    packed = PackedBackbone(backbone, copy_kernels=False).padded
    before, _ = loss_and_gradients(packed, backbone, features)
    for weight in backbone.weights:
        weight.assign(weight * 0.5)
    after, gradients = loss_and_gradients(packed, backbone, features)
    assert before != after
    assert all(np.isfinite(g).all() for g in gradients)


def test_padding_has_states_of_zero():
    backbone, features = make_backbone(), make_features([3, 0, 5])
    states = PackedBackbone(backbone).padded(features)["sequence_output"]
    is_token = features["padding_mask"] > 0
    assert states.shape == (3, 5, 8)
    assert (states.numpy()[~is_token] == 0).all()
    want = states_of_layer(backbone, features)
    np.testing.assert_allclose(states.numpy()[is_token], want, atol=1e-5)


def test_dropout_is_that_of_the_backbone():
    backbone, features = make_backbone(dropout=0.5), make_features([40])
    packed = PackedBackbone(backbone, copy_kernels=False).padded
    run = tf.function(
        lambda: packed(features, training=True)["sequence_output"],
        autograph=False,
    )
    (seed,) = backbone.embeddings_dropout.variables
    start = seed.numpy()
    first, second = run().numpy(), run().numpy()
    assert abs(first - second).max() > 0.1
    seed.assign(start)  # as a training that is resumed
    np.testing.assert_array_equal(run(), first)
    whole = packed(features, training=False)["sequence_output"].numpy()
    assert abs(first - whole).max() > 0.1
