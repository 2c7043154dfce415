import re

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.checkpoints import load
from realm_tf.checkpoints.model_garden import is_model_garden
from realm_tf.checkpoints.tensor_file import CheckpointError

NUM_LAYERS = 2
# TF1 -> Model Garden, as tf-models-official 2.20 and its checkpoints of 2020
# name them.
LAYER = {
    "attention/self/query": "_attention_layer/_query_dense",
    "attention/self/key": "_attention_layer/_key_dense",
    "attention/self/value": "_attention_layer/_value_dense",
    "attention/output/dense": "_attention_layer/_output_dense",
    "attention/output/LayerNorm": "_attention_layer_norm",
    "intermediate/dense": "_intermediate_dense",
    "output/dense": "_output_dense",
    "output/LayerNorm": "_output_layer_norm",
}
OLD = {
    "bert/embeddings/word_embeddings": "layer_with_weights-0/embeddings",
    "bert/embeddings/position_embeddings": "layer_with_weights-1/embeddings",
    "bert/embeddings/token_type_embeddings": "layer_with_weights-2/embeddings",
    "bert/embeddings/LayerNorm": "layer_with_weights-3",
    "bert/encoder": "layer_with_weights-{}",
    "bert/pooler/dense": f"layer_with_weights-{4 + NUM_LAYERS}",
}
NEW = {
    "bert/embeddings/word_embeddings": "_embedding_layer/embeddings",
    "bert/embeddings/position_embeddings": (
        "_position_embedding_layer/embeddings"
    ),
    "bert/embeddings/token_type_embeddings": "_type_embedding_layer/embeddings",
    "bert/embeddings/LayerNorm": "_embedding_norm_layer",
    "bert/encoder": "_transformer_layers/{}",
    "bert/pooler/dense": "_pooler_layer",
}
HEAD = {
    "cls/predictions/output_bias": "masked_lm/bias",
    "cls/predictions/transform/dense": "masked_lm/dense",
    "cls/predictions/transform/LayerNorm": "masked_lm/layer_norm",
}


def garden_name(name, style):
    """Name of a trunk's TF1 variable in the Model Garden."""
    whole, first = (OLD, 4) if style == "old" else (NEW, 0)
    if name in whole:
        return whole[name]
    owner, last = name.rsplit("/", 1)
    layer = re.fullmatch(r"bert/encoder/layer_(\d+)/(.*)", owner)
    if layer:
        number = whole["bert/encoder"].format(first + int(layer[1]))
        return f"{number}/{LAYER[layer[2]]}/{last}"
    return f"{whole[owner]}/{last}"


def with_heads(name, value, heads=4):
    """A value with the axis of attention heads."""
    size = len(value) // heads
    if "/attention/self/" in name:
        return value.reshape(*value.shape[:-1], heads, -1)
    if name.endswith("/attention/output/dense/kernel"):
        return value.reshape(heads, size, -1)
    return value


def garden(release, style, prefix="encoder/", head=""):
    """Variables of a checkpoint of the Model Garden."""
    trunk, words = release.split(release.ENCODER)
    found = {
        prefix + garden_name(name, style): with_heads(name, value)
        for name, value in trunk.items()
    }
    if head:
        for name, value in words.items():
            owner, last = name.rsplit("/", 1)
            new = HEAD.get(name) or f"{HEAD[owner]}/{last}"
            found[head + new] = value
        table = prefix + garden_name("bert/embeddings/word_embeddings", style)
        found[f"{head}masked_lm/embedding_table"] = found.pop(table)
    query = next(name for name in found if name.endswith("_query_dense/kernel"))
    slot = f"{query}/.OPTIMIZER_SLOT/optimizer/m"
    found |= {
        "save_counter": np.int64(1),
        "optimizer/iter": np.int64(100),
        slot: np.zeros_like(found[query]),
    }
    return {f"{n}/.ATTRIBUTES/VARIABLE_VALUE": v for n, v in found.items()} | {
        "_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant(b"\x0a\x00")
    }


def check_trunk(release, layer):
    features = release.features()
    expected = release.run_trunk(release.ENCODER, features)
    states = layer.backbone(features)["sequence_output"]
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-5)


def write(release, folder, variables, name="bert_model.ckpt"):
    release.save_checkpoint(folder / name, variables)
    words = release.VOCABULARY.read_text("utf-8")
    (folder / "vocab.txt").write_text(words, "utf-8")
    return folder


@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.parametrize("prefix", ["encoder/", "model/encoder/", ""])
def test_an_encoder_starts_embedder_and_reader(
    release, tmp_path, style, prefix
):
    variables = garden(release, style, prefix)
    checkpoint = load(write(release, tmp_path, variables))
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
def test_a_pretrainer_has_an_encoder_of_words_too(release, tmp_path, style):
    variables = garden(release, style, "model/encoder_network/", head="model/")
    folder = write(release, tmp_path, variables, "bert_model.ckpt-1")
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


def test_the_output_of_attention_may_have_a_shorter_name(release, tmp_path):
    variables = {
        name.replace("_attention_layer/_output", "_attention_output"): value
        for name, value in garden(release, "old").items()
    }
    parts = load(write(release, tmp_path, variables)).parts
    check_trunk(release, parts.reader)


def test_a_variable_too_many_is_named(release, tmp_path):
    variables = garden(release, "old")
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables[f"encoder/layer_with_weights-9/kernel{end}"] = np.zeros(2)
    folder = write(release, tmp_path, variables)
    name = "encoder/layer_with_weights-9/kernel"
    with pytest.raises(CheckpointError, match=f"Left over: .*{name}"):
        load(folder)
    assert load(folder, partial=True).skipped[name] == "left over"


def test_two_names_for_one_variable_are_refused(release, tmp_path):
    variables = garden(release, "old")
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables[f"encoder/_pooler_layer/kernel{end}"] = np.zeros((16, 16))
    with pytest.raises(CheckpointError, match="both bert/pooler/dense/kernel"):
        load(write(release, tmp_path, variables))


def test_other_checkpoints_are_not_of_the_model_garden(release):
    assert not is_model_garden(release.tf1_variables("bert"))
