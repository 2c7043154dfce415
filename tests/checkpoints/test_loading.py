import json
import shutil

import pytest

from realm_tf.checkpoints.loading import (
    BERT,
    PRESET,
    PUBLISHED,
    combine,
    load,
    load_parts,
    recognise,
)
from realm_tf.checkpoints.named_presets import register_preset
from realm_tf.errors import CheckpointError
from realm_tf.realm_qa import RealmQA


@pytest.fixture
def checkpoints(release, tmp_path):
    return {
        name: load(release.write_hugging_face(tmp_path / name, name))
        for name in ("embedder", "encoder", "openqa")
    }


def test_a_format_can_be_forced(release, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "reader")
    assert load(folder, format="hugging_face").format == "RealmReader"
    with pytest.raises(CheckpointError, match="must hold a TensorFlow check"):
        load(folder, format="tf1")
    with pytest.raises(ValueError, match="`format` must be one of"):
        load(folder, format="onnx")


def test_something_else_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="in a published layout"):
        load(tmp_path)


def test_a_sentence_encoder_is_sent_to_where_its_pooling_is_kept(
    tiny_bert, tmp_path
):
    folder = shutil.copytree(tiny_bert, tmp_path / "encoder")
    (folder / "modules.json").write_text("[]")
    with pytest.raises(CheckpointError, match="finetune --bert"):
        load(folder)


def test_one_checkpoint_stays_as_it_is(checkpoints):
    one = checkpoints["openqa"]
    combined = combine([one])
    assert combined.parts.layers == one.parts.layers
    assert combined.used == one.used


def test_an_embedder_and_an_encoder_get_a_reader(checkpoints):
    combined = combine([checkpoints["embedder"], checkpoints["encoder"]])
    parts = combined.parts
    assert list(parts.layers) == ["query_embedder", "reader", "encoder"]
    assert parts.block_embedder is parts.query_embedder
    assert parts.reader.backbone is not parts.encoder.backbone
    assert "reader/score_dense/bias" in combined.initial
    assert len(combined.used) == 43 + 44


def test_blocks_can_have_another_embedder(checkpoints):
    combined = combine([checkpoints["openqa"]], checkpoints["embedder"])
    parts = combined.parts
    assert parts.block_embedder is checkpoints["embedder"].parts.query_embedder
    assert parts.query_embedder is not parts.block_embedder
    with pytest.raises(CheckpointError, match="with an embedder. Received"):
        combine([checkpoints["openqa"]], checkpoints["encoder"])


def test_the_same_part_twice_is_refused(checkpoints):
    with pytest.raises(CheckpointError, match="a second query_embedder"):
        combine([checkpoints["openqa"], checkpoints["embedder"]])


def test_other_vocabularies_are_refused(release, checkpoints, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "encoder")
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")
    (folder / "vocab.txt").write_text("\n".join(words[:-2]), "utf-8")
    with pytest.raises(CheckpointError, match="must share a vocabulary"):
        combine([checkpoints["embedder"], load(folder)])


# What a user has, whatever it is.


@pytest.fixture(scope="module")
def preset(make_qa, tmp_path_factory):
    path = tmp_path_factory.mktemp("loading") / "preset"
    make_qa(dropout=0.3).save_to_preset(path)
    return path


def test_every_kind_is_recognised(preset, tiny_bert, release, tmp_path):
    assert recognise(preset) is PRESET
    assert recognise(tiny_bert) is BERT
    for name in ("embedder", "openqa"):
        folder = release.write_hugging_face(tmp_path / name, name)
        assert recognise(folder) is PUBLISHED
    hub = release.write_tf1(tmp_path / "tf1", "embedder")
    assert recognise(hub) is PUBLISHED


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_bert_is_one_whatever_holds_its_weights(tiny_bert, tmp_path, name):
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / name)
    assert recognise(folder) is BERT


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_nothing_of_the_kind_is_refused(tmp_path, exists):
    path = tmp_path if exists else tmp_path / "x"
    found = "a folder with nothing" if exists else "which does not exist"
    with pytest.raises(
        CheckpointError, match=f"a preset, a BERT .*a published.*{found}"
    ):
        load_parts(path)


def test_what_exists_is_listed_where_a_name_is_unknown(preset, registry):
    register_preset("realm_cities", "", preset)
    with pytest.raises(CheckpointError, match="Names: .*realm_cities"):
        load_parts("realm_towns")


def test_a_preset_is_loaded_by_path_and_by_name(preset, registry):
    register_preset("realm_cities", "", preset)
    for source in (preset, str(preset), "realm_cities"):
        parts, folder = load_parts(source, dropout=None)
        assert folder == preset
        assert parts.reader.backbone.dropout == 0.3
        assert parts.options["official"] is False
    parts, _ = load_parts(preset, dropout=0.0, official=True)
    assert parts.reader.backbone.dropout == 0.0
    assert parts.options["official"] is True


def test_a_bert_takes_the_options_of_parts_and_of_the_featurizer(tiny_bert):
    parts, folder = load_parts(tiny_bert, embedding_dim=3, block_length=40)
    assert folder is None
    assert parts.query_embedder.embedding_dim == 3
    assert parts.featurizer.block_length == 40


def test_a_checkpoint_takes_another_block_embedder(release, tmp_path):
    openqa, embedder = (
        release.write_hugging_face(tmp_path / name, name)
        for name in ("openqa", "embedder")
    )
    parts, folder = load_parts(openqa, block_embedder=embedder, official=True)
    assert folder is None
    assert parts.query_embedder is not parts.block_embedder
    assert parts.options["official"] is True
    assert "official" not in load_parts(openqa)[0].options


def test_several_checkpoints_are_combined(release, tmp_path):
    sources = [
        release.write_hugging_face(tmp_path / name, name)
        for name in ("embedder", "encoder")
    ]
    parts, folder = load_parts(sources)
    assert folder is None
    assert list(parts.layers) == ["query_embedder", "reader", "encoder"]


def test_an_option_of_another_kind_is_refused_by_name(
    preset, tiny_bert, release, tmp_path
):
    with pytest.raises(ValueError, match="`pooling` must not be .* a preset"):
        load_parts(preset, pooling="mean")
    with pytest.raises(ValueError, match="`partial` must not be .* a BERT"):
        load_parts(tiny_bert, partial=True)
    with pytest.raises(ValueError, match="options are .*embedding_dim.*query_"):
        load_parts(tiny_bert, widht=3)
    sources = [release.write_hugging_face(tmp_path / "e", "embedder")]
    with pytest.raises(ValueError, match="`verify` must not be .* published"):
        load_parts(sources, verify=False)


def test_a_folder_of_another_model_is_refused(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "roberta")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "roberta"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="`model_type` must be one of"):
        load_parts(folder)


def test_a_published_checkpoint_must_have_all_parts(release, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "openqa")
    assert RealmQA.from_preset(folder).reader is not None
    folder = release.write_hugging_face(tmp_path / "y", "encoder")
    with pytest.raises(ValueError, match="embedders and a reader.*y with enco"):
        RealmQA.from_preset(folder)
