import json

import numpy as np
import pytest
import safetensors.numpy

from realm_tf.checkpoints import load
from realm_tf.checkpoints.exporting import (
    HUGGING_FACE_LAYOUTS,
    TF1_LAYOUTS,
    export_hugging_face,
    export_preset,
    export_tf1,
)
from realm_tf.checkpoints.files.tf_checkpoint import TFCheckpoint

SOURCES = {
    "RealmForOpenQA": "openqa",
    "RealmScorer": "scorer_of_two",
    "RealmEmbedder": "embedder",
    "RealmReader": "reader",
    "RealmKnowledgeAugEncoder": "encoder",
}


@pytest.mark.parametrize("architecture", HUGGING_FACE_LAYOUTS)
def test_what_was_imported_is_exported_bit_for_bit(
    release, tmp_path, architecture
):
    source = release.write_hugging_face(
        tmp_path / "source", SOURCES[architecture]
    )
    checkpoint = load(source)
    export_hugging_face(checkpoint.parts, tmp_path / "out", architecture)
    before, after = (
        safetensors.numpy.load_file(path / "model.safetensors")
        for path in (source, tmp_path / "out")
    )
    assert set(after) == set(checkpoint.used)
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    again = load(tmp_path / "out")
    assert again.format == checkpoint.format
    for name, layer in checkpoint.parts.layers.items():
        for a, b in zip(
            layer.weights, getattr(again.parts, name).weights, strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    config = checkpoint.parts.featurizer.get_config()
    assert again.parts.featurizer.get_config() == config


@pytest.mark.parametrize("layout", TF1_LAYOUTS)
def test_tf1_checkpoints_are_exported_under_their_names(
    release, tmp_path, layout
):
    source = release.write_tf1(tmp_path / "source", layout)
    checkpoint = load(source, num_heads=4)
    export_tf1(checkpoint.parts, tmp_path / "out", layout)
    again = load(tmp_path / "out")
    assert again.format == checkpoint.format
    assert set(again.used) == set(checkpoint.used)
    assert again.skipped == {}
    for name, layer in checkpoint.parts.layers.items():
        trunk = getattr(again.parts, name).backbone
        assert trunk.num_heads == layer.backbone.num_heads == 4
    [index] = (tmp_path / "out").rglob("*.index")
    file = TFCheckpoint(index.with_suffix(""))
    variables = release.tf1_variables(layout)
    for name in checkpoint.used:
        np.testing.assert_array_equal(file.read(name), variables[name])


def test_the_epsilon_of_a_reader_survives(release, tmp_path):
    parts = load(release.write_tf1(tmp_path / "x", "orqa"), num_heads=4).parts
    parts.reader.span_layer_norm.epsilon = 1e-6
    parts.reader.layer_norm_epsilon = 1e-6
    export_tf1(parts, tmp_path / "out", "orqa")
    again = load(tmp_path / "out").parts.reader
    assert again.layer_norm_epsilon == 1e-6


def test_transformers_makes_no_room_for_blocks(release, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "openqa")
    export_hugging_face(load(folder).parts, tmp_path / "y", "RealmForOpenQA")
    config = json.loads((tmp_path / "y/config.json").read_text())
    assert config["num_block_records"] == 0


def test_an_embedder_of_open_code_keeps_its_epsilon(release, tmp_path):
    parts = load(release.write_tf1(tmp_path / "ict", "ict"), num_heads=4).parts
    export_tf1(parts, tmp_path / "out", "embedder")
    again = load(tmp_path / "out")
    assert again.parts.query_embedder.layer_norm_epsilon == 1e-3
    with pytest.raises(ValueError, match="epsilon 1e-12. Received: 0.001"):
        export_hugging_face(parts, tmp_path / "hf", "RealmEmbedder")
    assert not (tmp_path / "hf").exists()


def test_a_missing_part_is_named(release, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "reader")
    parts = load(folder).parts
    message = "must have query_embedder, reader. Received: a model with reader"
    with pytest.raises(ValueError, match=message):
        export_hugging_face(parts, tmp_path / "out", "RealmForOpenQA")
    with pytest.raises(ValueError, match="The layout must be one of"):
        export_tf1(parts, tmp_path / "out", "RealmReader")


def test_a_sentence_encoder_has_no_published_layout(
    make_qa, featurizer, tmp_path
):
    qa = make_qa(pooling="mean")
    from realm_tf.checkpoints.presets import Parts

    parts = Parts(featurizer, qa.query_embedder, qa.block_embedder, qa.reader)
    with pytest.raises(ValueError, match="has `pooling='cls'`"):
        export_hugging_face(parts, tmp_path / "out", "RealmForOpenQA")


@pytest.mark.parametrize("layout", ["RealmReader", "orqa"])
def test_preset_is_exported_in_its_layout(release, tmp_path, layout):
    checkpoint = load(release.write_hugging_face(tmp_path / "source", "openqa"))
    checkpoint.save(tmp_path / "preset")
    export_preset(tmp_path / "preset", tmp_path / "out", layout)
    again = load(tmp_path / "out", num_heads=release.HEADS)
    for a, b in zip(
        again.parts.reader.weights,
        checkpoint.parts.reader.weights,
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(FileExistsError, match="out"):
        export_preset(tmp_path / "preset", tmp_path / "out", layout)
