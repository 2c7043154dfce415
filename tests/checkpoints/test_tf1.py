import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.checkpoints import load
from realm_tf.checkpoints.tf1 import find_prefix, open_embeddings
from realm_tf.errors import CheckpointError


@pytest.fixture
def tf1(release, tmp_path):
    def write(layout, **kwargs):
        return release.write_tf1(tmp_path / layout, layout, **kwargs)

    return write


def check_embedder(release, layer, part):
    features = release.features()
    expected = release.run_embedder(part, features)
    np.testing.assert_allclose(layer(features), expected, rtol=0, atol=1e-5)


def check_encoder(release, layer, part):
    features = release.features()
    positions = np.array([[1, 4], [0, 2], [3, 3]])
    joint = {name: value[:, None] for name, value in features.items()}
    found = layer(joint, mask_positions=positions)[:, 0]
    expected = release.run_encoder(part, features, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_the_embedder_module_has_the_small_epsilon(release, tf1):
    checkpoint = load(tf1("embedder"), num_heads=4)
    embedder = checkpoint.parts.query_embedder
    assert checkpoint.format == "TF1 hub module"
    assert embedder.layer_norm_epsilon == 1e-12
    assert checkpoint.parts.block_embedder is embedder
    check_embedder(release, embedder, release.EMBEDDER)
    assert len(checkpoint.used) == 43
    assert len(checkpoint.skipped) == 5


def test_the_ict_module_has_the_large_epsilon(release, tf1):
    embedder = load(tf1("ict"), num_heads=4).parts.query_embedder
    assert embedder.layer_norm_epsilon == 1e-3
    check_embedder(release, embedder, release.ICT)


def test_the_bert_module_is_an_encoder(release, tf1):
    checkpoint = load(tf1("bert"), num_heads=4)
    assert list(checkpoint.parts.layers) == ["encoder"]
    check_encoder(release, checkpoint.parts.encoder, release.ENCODER)


def test_a_fine_tuned_folder_has_question_embedder_and_reader(release, tf1):
    folder = tf1("orqa")
    checkpoint = load(folder, num_heads=4)
    assert checkpoint.format == "fine-tuned ORQA"
    parts = checkpoint.parts
    check_embedder(release, parts.query_embedder, release.QUERY_EMBEDDER)
    features = release.features()
    mask = np.ones_like(features["token_ids"])
    joint = {name: value[None] for name, value in features.items()}
    found = parts.reader(joint, block_mask=mask[None])[0]
    expected = release.run_reader(release.READER, features)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert parts.featurizer.joint_length == 96
    assert parts.options == {"num_read": 5}
    # Every slot of the optimizer, and the step.
    assert len(checkpoint.skipped) == 2 * len(checkpoint.used) + 1


def test_a_trainer_has_embedder_and_encoder(release, tf1):
    parts = load(tf1("trainer"), num_heads=4).parts
    assert list(parts.layers) == ["query_embedder", "encoder"]
    assert parts.query_embedder.layer_norm_epsilon == 1e-3
    check_embedder(release, parts.query_embedder, release.ICT)
    check_encoder(release, parts.encoder, release.ENCODER)


def test_a_torn_newest_checkpoint_falls_back_to_the_one_before(release, tf1):
    folder = tf1("trainer")
    release.save_checkpoint(
        folder / "model.ckpt-200500", release.tf1_variables("trainer")
    )
    [data] = folder.glob("model.ckpt-200500.data-*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    checkpoint = load(folder, num_heads=4)
    check_encoder(release, checkpoint.parts.encoder, release.ENCODER)
    assert any("model.ckpt-200500 is torn" in n for n in checkpoint.notes)


@pytest.mark.parametrize("layout", ["embedder", "orqa"])
def test_a_truncated_checkpoint_is_refused(tf1, layout):
    folder = tf1(layout)
    [data] = folder.rglob("*.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        load(folder, num_heads=4)


def test_a_renamed_variable_is_named_on_both_sides(release, tmp_path):
    variables = release.tf1_variables("bert")
    name = "bert/encoder/layer_1/output/dense/kernel"
    variables["bert/other"] = variables.pop(name)
    release.save_checkpoint(tmp_path / "variables/variables", variables)
    message = f"Missing: {name}. Left over: .*bert/other"
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, num_heads=4)


def test_an_extra_variable_is_named(release, tf1, tmp_path):
    variables = release.tf1_variables("bert") | {"extra": np.zeros(2)}
    release.save_checkpoint(tmp_path / "x/variables/variables", variables)
    with pytest.raises(CheckpointError, match="Left over: .*extra"):
        load(tmp_path / "x", num_heads=4)


def test_a_checkpoint_without_a_trunk_is_refused(release, tmp_path):
    release.save_checkpoint(tmp_path / "model.ckpt-1", {"a": np.zeros(2)})
    with pytest.raises(CheckpointError, match="must hold a BERT"):
        load(tmp_path)


def test_a_trunk_without_a_head_is_refused(release, tmp_path):
    variables = release.split(release.ENCODER)[0]
    release.save_checkpoint(tmp_path / "model.ckpt-1", variables)
    with pytest.raises(CheckpointError, match="must have a head"):
        load(tmp_path)


def test_two_embedders_are_refused(release, tmp_path):
    variables = {
        f"{name}/{key}": value
        for name in "ab"
        for key, value in release.EMBEDDER.items()
    }
    release.save_checkpoint(tmp_path / "model.ckpt-1", variables)
    with pytest.raises(CheckpointError, match="two for query_embedder"):
        load(tmp_path, num_heads=4)


def test_heads_must_be_told_where_no_shape_does(tf1):
    folder = tf1("bert")
    with pytest.raises(CheckpointError, match="`num_heads` must be given"):
        load(folder)


def test_a_vocabulary_must_be_there_or_be_named(release, tf1):
    folder = tf1("bert")
    (folder / "assets/vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="must have a vocabulary"):
        load(folder, num_heads=4)
    named = load(folder, num_heads=4, vocabulary=release.VOCABULARY)
    size = named.parts.featurizer.vocabulary_size
    assert size == release.VOCABULARY_SIZE


def test_params_lead_to_the_vocabulary_of_the_module(release, tf1):
    module, folder = tf1("embedder"), tf1("orqa")
    (folder / "vocab.txt").unlink()
    params = json.loads((folder / "params.json").read_text())
    params["retriever_module_path"] = str(module)
    (folder / "params.json").write_text(json.dumps(params))
    checkpoint = load(folder, num_heads=4)
    size = checkpoint.parts.featurizer.vocabulary_size
    assert size == release.VOCABULARY_SIZE
    (folder / "params.json").write_text("{")
    with pytest.raises(CheckpointError, match="params.json must hold a JSON"):
        load(folder, num_heads=4)


@pytest.mark.parametrize(
    ("layout", "inside"),
    [
        ("bert", "variables/variables"),
        ("orqa", "export/best_default/checkpoint/model.ckpt-300000"),
        ("trainer", "model.ckpt-200000"),
    ],
)
def test_a_prefix_is_a_checkpoint_too(tf1, layout, inside):
    folder = tf1(layout)
    whole = load(folder, num_heads=4)
    checkpoint = load(folder / inside, num_heads=4)
    assert checkpoint.parts.layers.keys() == whole.parts.layers.keys()
    assert checkpoint.format == whole.format
    assert checkpoint.parts.featurizer.get_config() == (
        whole.parts.featurizer.get_config()
    )


def set_params(folder, **values):
    file = folder / "params.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_modules_that_are_elsewhere_are_not_looked_at(monkeypatch, tf1):
    folder = tf1("orqa")
    set_params(folder, retriever_module_path="gs://realm-data/embedder")

    def exists(path):
        raise AssertionError(path)

    monkeypatch.setattr(tf.io.gfile, "exists", exists)
    assert load(folder, num_heads=4).format == "fine-tuned ORQA"
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="must have a vocabulary"):
        load(folder, num_heads=4)


def test_the_own_vocabulary_wins(release, tf1):
    folder = tf1("orqa")
    words = release.VOCABULARY.read_text("utf-8").splitlines()
    (folder / "vocab.txt").write_text("\n".join(words[:-1]), "utf-8")
    set_params(folder, retriever_module_path=str(tf1("embedder")))
    parts = load(folder, num_heads=4).parts
    assert parts.featurizer.vocabulary_size == len(words) - 1


def test_settings_must_be_numbers(tf1):
    folder = tf1("orqa")
    set_params(folder, num_attention_heads="4")
    message = "must be numbers.* Received: {'num_attention_heads': '4'}"
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_d14_a_part_of_a_checkpoint_is_taken_if_asked_for(release, tmp_path):
    variables = release.tf1_variables("bert")
    name = "bert/encoder/layer_1/output/dense/kernel"
    variables["bert/other"] = variables.pop(name)
    release.save_checkpoint(tmp_path / "model.ckpt-1", variables)
    checkpoint = load(
        tmp_path, num_heads=4, vocabulary=release.VOCABULARY, partial=True
    )
    path = "transformer_layer_1/feedforward_output_dense/kernel"
    assert checkpoint.initial == (f"encoder/{path}",)
    assert checkpoint.skipped == {"bert/other": "left over"}


def test_a_bert_of_google_starts_all_parts(release, garden, tmp_path):
    garden.write_google(release, tmp_path)
    checkpoint = load(tmp_path)
    parts = checkpoint.parts
    assert checkpoint.format == "Google BERT"
    assert list(parts.layers) == ["query_embedder", "reader", "encoder"]
    check_encoder(release, parts.encoder, release.ENCODER)
    assert set(checkpoint.skipped.values()) == {"next-sentence prediction"}
    assert parts.featurizer.joint_title
    assert load(tmp_path / "bert_model.ckpt").format == "Google BERT"
    (tmp_path / "bert_config.json").write_text('{"hidden_act": "relu"}')
    with pytest.raises(CheckpointError, match="Received: {'hidden_act': 'rel"):
        load(tmp_path)


def test_a_trainer_with_a_bert_configuration_is_no_bert(tf1):
    folder = tf1("trainer")
    (folder / "bert_config.json").write_text('{"num_attention_heads": 4}')
    assert load(folder).format == "TF1 checkpoint"


def test_the_newest_of_several_steps_is_found(tmp_path):
    for step in (900, 1000, 20):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    assert find_prefix(tmp_path) == str(tmp_path / "model.ckpt-1000")
    assert find_prefix(tmp_path / "nothing") is None


def test_embeddings_beside_a_module_are_read_in_rows(release, tf1):
    rows = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    matrix = load(tf1("embedder", embeddings=rows), num_heads=4).embeddings
    assert matrix.num_blocks == 7
    found = np.concatenate(list(matrix.file.rows(matrix.name, at_once=3)))
    np.testing.assert_array_equal(found, rows)


def test_other_variables_beside_the_embeddings_are_refused(release, tmp_path):
    release.save_checkpoint(tmp_path / "encoded.ckpt", {"x": np.zeros((2, 2))})
    with pytest.raises(CheckpointError, match="matrix block_emb alone"):
        open_embeddings(pathlib.Path(tmp_path / "encoded.ckpt"))
