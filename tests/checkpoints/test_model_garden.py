import numpy as np
import pytest

from realm_tf.checkpoints import load
from realm_tf.checkpoints.model_garden import is_model_garden
from realm_tf.errors import CheckpointError


def check_trunk(release, layer):
    features = release.features()
    expected = release.run_trunk(release.ENCODER, features)
    states = layer.backbone(features)["sequence_output"]
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.parametrize("prefix", ["encoder/", "model/encoder/", ""])
def test_an_encoder_starts_embedder_and_reader(
    release, garden, tmp_path, style, prefix
):
    variables = garden.garden(release, style, prefix)
    checkpoint = load(garden.write(release, tmp_path, variables))
    parts = checkpoint.parts
    assert checkpoint.format == "Model Garden BERT"
    assert list(parts.layers) == ["query_embedder", "reader"]
    for layer in parts.layers.values():
        check_trunk(release, layer)
        assert layer.backbone.num_heads == 4
    assert set(checkpoint.skipped.values()) == {"state of the training"}
    assert len(checkpoint.used) + len(checkpoint.skipped) == len(variables)
    assert not any("pooled" in name for name in checkpoint.initial)
    kernel = release.ENCODER["bert/pooler/dense/kernel"]
    pooler = parts.query_embedder.backbone.pooled_dense
    np.testing.assert_array_equal(pooler.kernel, kernel)


@pytest.mark.parametrize("style", ["old", "new"])
def test_a_pretrainer_has_an_encoder_of_words_too(
    release, garden, tmp_path, style
):
    variables = garden.garden(
        release, style, "model/encoder_network/", head="model/"
    )
    folder = garden.write(release, tmp_path, variables, "bert_model.ckpt-1")
    checkpoint = load(folder)
    encoder = checkpoint.parts.encoder
    check_trunk(release, encoder)
    features = release.features()
    positions = np.array([[1, 4], [0, 2], [3, 3]])
    joint = {name: value[:, None] for name, value in features.items()}
    found = encoder(joint, mask_positions=positions)[:, 0]
    expected = release.run_encoder(release.ENCODER, features, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert len(checkpoint.used) + len(checkpoint.skipped) == len(variables)


def test_the_output_of_attention_may_have_a_shorter_name(
    release, garden, tmp_path
):
    variables = {
        name.replace("_attention_layer/_output", "_attention_output"): value
        for name, value in garden.garden(release, "old").items()
    }
    parts = load(garden.write(release, tmp_path, variables)).parts
    check_trunk(release, parts.reader)


def test_a_variable_too_many_is_named(release, garden, tmp_path):
    variables = garden.garden(release, "old")
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables[f"encoder/layer_with_weights-9/kernel{end}"] = np.zeros(2)
    folder = garden.write(release, tmp_path, variables)
    name = "encoder/layer_with_weights-9/kernel"
    with pytest.raises(CheckpointError, match=f"Left over: .*{name}"):
        load(folder)
    assert load(folder, partial=True).skipped[name] == "left over"


def test_two_names_for_one_variable_are_refused(release, garden, tmp_path):
    variables = garden.garden(release, "old")
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables[f"encoder/_pooler_layer/kernel{end}"] = np.zeros((16, 16))
    with pytest.raises(CheckpointError, match="both bert/pooler/dense/kernel"):
        load(garden.write(release, tmp_path, variables))


def test_other_checkpoints_are_not_of_the_model_garden(release, garden):
    assert not is_model_garden(release.tf1_variables("bert"))
