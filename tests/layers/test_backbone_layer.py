import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.backbone_layer import BackboneLayer


def test_encode_and_restore_fold_and_unfold_leading_axes(
    make_backbone, make_features
):
    layer = BackboneLayer(make_backbone())
    features = make_features(2, 3, 7)
    states = layer.encode(features, "sequence_output")
    assert tuple(states.shape) == (6, 7, 4)
    assert tuple(layer.restore(states, features).shape) == (2, 3, 7, 4)
    one = {name: value[1, 2:] for name, value in features.items()}
    np.testing.assert_allclose(
        states[5:], layer.encode(one, "sequence_output"), rtol=1e-4
    )


def test_encode_ignores_features_that_are_not_of_the_trunk(
    make_backbone, make_features
):
    layer = BackboneLayer(make_backbone())
    features = make_features(2, 7)
    extended = {**features, "mask_ids": np.zeros((2, 1))}
    np.testing.assert_array_equal(
        layer.encode(extended, "pooled_output"),
        layer.encode(features, "pooled_output"),
    )


def test_encode_passes_training_on(make_backbone, make_features):
    layer = BackboneLayer(make_backbone(dropout=0.5))
    features = make_features(2, 7)
    states = layer.encode(features, "sequence_output")
    dropped = layer.encode(features, "sequence_output", training=True)
    assert np.abs(states - dropped).max() > 0.1


def test_freeze_pooler_takes_its_weights_out_of_training(make_backbone):
    layer = BackboneLayer(make_backbone())
    before = len(layer.trainable_weights)
    layer.freeze_pooler()
    assert len(layer.trainable_weights) == before - 2
    assert len(layer.weights) == before


def test_layers_with_one_backbone_share_its_weights(make_backbone):
    backbone = make_backbone()
    one, other = BackboneLayer(backbone), BackboneLayer(backbone)
    shared = keras.Sequential([one, other]).weights
    assert len(shared) == len(backbone.weights)


def test_config_rebuilds_the_backbone(make_backbone):
    layer = BackboneLayer(make_backbone("mixed_bfloat16"), name="reader")
    copy = BackboneLayer.from_config(layer.get_config())
    assert copy.backbone.get_config() == layer.backbone.get_config()
    assert copy.dtype_policy.name == "mixed_bfloat16"
    assert copy.name == "reader"


def gradients_of_two_steps(layer, features, wrap):
    """Dropout must also draw the same in the step after."""

    def step():
        with tf.GradientTape() as tape:
            states = layer.encode(features, "pooled_output", training=True)
            loss = keras.ops.sum(keras.ops.cast(states, "float32") ** 2)
        weights = [weight.value for weight in layer.trainable_weights]
        return states, *tape.gradient(loss, weights)

    step = wrap(step)
    return [
        np.array(keras.ops.cast(tf.convert_to_tensor(x), "float32"))
        for _ in range(2)
        for x in step()
    ]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_checkpointing_gives_the_same_with_dropout(
    make_backbone, make_features, policy, compiled
):
    found = []
    for is_checkpointed in (False, True):
        keras.utils.set_random_seed(1)
        layer = BackboneLayer(make_backbone(policy, dropout=0.3))
        layer.gradient_checkpointing = is_checkpointed
        found.append(
            gradients_of_two_steps(
                layer,
                make_features(2, 3, 7),
                tf.function if compiled else lambda step: step,
            )
        )
        found[-1] += [np.array(variable) for variable in layer.variables]
    for expected, value in zip(*found, strict=True):
        # Key biases have no gradient but rounding.
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_checkpointing_computes_layers_again_in_training_alone(
    make_backbone, make_features, monkeypatch
):
    layer = BackboneLayer(make_backbone())
    features = make_features(2, 7)
    expected = layer.encode(features, "sequence_output")
    calls = []
    for transformer_layer in layer.backbone.transformer_layers:
        call = transformer_layer.call

        def counted(*args, call=call, **kwargs):
            calls.append(call)
            return call(*args, **kwargs)

        monkeypatch.setattr(transformer_layer, "call", counted)
    layer.gradient_checkpointing = True
    with tf.GradientTape() as tape:
        states = layer.encode(features, "sequence_output", training=True)
    assert len(calls) == 2
    np.testing.assert_allclose(states, expected, rtol=1e-5)
    tape.gradient(states, layer.backbone.token_embedding.embeddings.value)
    assert len(calls) == 4
    with tf.GradientTape() as tape:
        states = layer.encode(features, "sequence_output")
    tape.gradient(states, layer.backbone.token_embedding.embeddings.value)
    assert len(calls) == 6
