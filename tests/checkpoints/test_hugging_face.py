import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from realm_tf.checkpoints import load
from realm_tf.checkpoints.hugging_face import is_hugging_face, open_tensors
from realm_tf.errors import CheckpointError

KINDS = ("safetensors", "zip", "legacy")


def change(folder, **config):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def rewrite(folder, change_tensors):
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change_tensors(tensors)
    safetensors.numpy.save_file(tensors, path)


def check_embedder(release, layer, part):
    features = release.features()
    expected = release.run_embedder(part, features)
    np.testing.assert_allclose(layer(features), expected, rtol=0, atol=1e-5)


def check_reader(release, layer, part):
    features = release.features()
    mask = np.ones_like(features["token_ids"])
    joint = {name: value[None] for name, value in features.items()}
    found = layer(joint, block_mask=mask[None])[0]
    expected = release.run_reader(part, features)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def check_encoder(release, layer, part):
    features = release.features()
    positions = np.array([[1, 4], [0, 2], [3, 3]])
    joint = {name: value[:, None] for name, value in features.items()}
    found = layer(joint, mask_positions=positions)[:, 0]
    expected = release.run_encoder(part, features, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedder_computes_what_the_formulas_say(release, tmp_path, kind):
    checkpoint = load(release.write_hugging_face(tmp_path, "embedder", kind))
    assert checkpoint.format == "RealmEmbedder"
    parts = checkpoint.parts
    assert list(parts.layers) == ["query_embedder"]
    assert parts.block_embedder is parts.query_embedder
    assert parts.query_embedder.layer_norm_epsilon == 1e-12
    check_embedder(release, parts.query_embedder, release.EMBEDDER)
    # Each variable once: 7 + 2 x 16 of the trunk, 4 of the head.
    assert len(checkpoint.used) == 43
    reasons = sorted(set(checkpoint.skipped.values()))
    assert reasons == [
        "a masked-LM head that this part does not use",
        "positions in order",
    ]
    assert checkpoint.initial == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scorer_of_one_embedder_shares_it(release, tmp_path, kind):
    folder = release.write_hugging_face(tmp_path, "scorer", kind)
    parts = load(folder).parts
    assert parts.block_embedder is parts.query_embedder
    check_embedder(release, parts.query_embedder, release.EMBEDDER)


def test_a_scorer_whose_file_has_one_name_only_shares_it(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "scorer")

    def drop(tensors):
        for name in [n for n in tensors if n.startswith("embedder.")]:
            del tensors[name]

    rewrite(folder, drop)
    parts = load(folder).parts
    assert parts.block_embedder is parts.query_embedder
    check_embedder(release, parts.query_embedder, release.EMBEDDER)


def test_a_scorer_of_two_embedders_has_both(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "scorer_of_two")
    parts = load(folder).parts
    check_embedder(release, parts.block_embedder, release.EMBEDDER)
    check_embedder(release, parts.query_embedder, release.QUERY_EMBEDDER)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_computes_what_the_formulas_say(release, tmp_path, kind):
    checkpoint = load(release.write_hugging_face(tmp_path, "encoder", kind))
    assert list(checkpoint.parts.layers) == ["encoder"]
    check_encoder(release, checkpoint.parts.encoder, release.ENCODER)


def test_an_encoder_may_name_its_bias_after_the_decoder(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "encoder")
    rewrite(folder, lambda tensors: tensors.pop("cls.predictions.bias"))
    check_encoder(release, load(folder).parts.encoder, release.ENCODER)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_computes_what_the_formulas_say(release, tmp_path, kind):
    checkpoint = load(release.write_hugging_face(tmp_path, "reader", kind))
    reader = checkpoint.parts.reader
    assert (reader.max_span_width, reader.span_hidden_dim) == (10, 5)
    assert reader.layer_norm_epsilon == 1e-3
    check_reader(release, reader, release.READER)


@pytest.mark.parametrize("kind", KINDS)
def test_an_openqa_has_embedder_reader_and_embeddings(release, tmp_path, kind):
    rows = np.arange(30, dtype=np.float32).reshape(5, 6)
    folder = release.write_hugging_face(tmp_path, "openqa", kind, rows)
    release.write_block_records(folder / "block_records.npy")
    checkpoint = load(folder)
    check_embedder(
        release, checkpoint.parts.query_embedder, release.QUERY_EMBEDDER
    )
    check_reader(release, checkpoint.parts.reader, release.READER)
    matrix = checkpoint.embeddings
    assert matrix.num_blocks == 5
    found = np.concatenate(list(matrix.file.rows(matrix.name, at_once=2)))
    np.testing.assert_array_equal(found, rows)
    assert checkpoint.records == folder / "block_records.npy"
    assert checkpoint.parts.options == {"num_read": 5}
    assert any("before fine-tuning" in note for note in checkpoint.notes)


def test_a_bert_starts_an_embedder_a_reader_and_an_encoder(release, tmp_path):
    checkpoint = load(release.write_hugging_face(tmp_path, "bert"))
    parts = checkpoint.parts
    assert list(parts.layers) == ["query_embedder", "reader", "encoder"]
    check_encoder(release, parts.encoder, release.ENCODER)
    features = release.features()
    expected = release.run_trunk(release.ENCODER, features)
    for layer in (parts.query_embedder, parts.reader):
        states = layer.backbone(features)["sequence_output"]
        np.testing.assert_allclose(states, expected, rtol=0, atol=1e-5)
    assert "query_embedder/projection/kernel" in checkpoint.initial
    assert "reader/start_end_dense/kernel" in checkpoint.initial
    assert parts.featurizer.joint_title


def test_a_bert_with_the_names_of_old_conversions_is_read(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "bert")

    def rename(tensors):
        for name in [n for n in tensors if "LayerNorm" in n]:
            old = name.replace("weight", "gamma").replace("bias", "beta")
            tensors[old] = tensors.pop(name)

    rewrite(folder, rename)
    check_encoder(release, load(folder).parts.encoder, release.ENCODER)


def test_old_and_new_names_side_by_side_are_refused(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "bert")
    name = "bert.embeddings.LayerNorm"
    rewrite(
        folder,
        lambda t: t.update({f"{name}.gamma": t[f"{name}.weight"] + 1}),
    )
    with pytest.raises(CheckpointError, match="LayerNorm.* beside "):
        load(folder)


def drop(tensors, start):
    for name in [n for n in tensors if n.startswith(start)]:
        del tensors[name]


@pytest.mark.parametrize("head", ["qa_outputs", "classifier"])
def test_a_bert_with_the_head_of_another_task_is_a_bert(
    release, tmp_path, head
):
    folder = release.write_hugging_face(tmp_path, "bert")

    def rehead(tensors):
        drop(tensors, "cls.")
        tensors[f"{head}.weight"] = np.zeros((2, 16), np.float32)
        tensors[f"{head}.bias"] = np.zeros(2, np.float32)

    rewrite(folder, rehead)
    checkpoint = load(folder)
    assert checkpoint.format == "BERT"
    assert list(checkpoint.parts.layers) == ["query_embedder", "reader"]
    why = "a head of another task"
    assert checkpoint.skipped[f"{head}.weight"] == why
    assert not any("pooled" in name for name in checkpoint.initial)


def test_a_bert_needs_neither_pooler_nor_head_of_words(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "bert")

    def strip(tensors):
        drop(tensors, "cls.")
        drop(tensors, "bert.pooler")

    rewrite(folder, strip)
    checkpoint = load(folder)
    assert list(checkpoint.parts.layers) == ["query_embedder", "reader"]
    for name in ("query_embedder", "reader"):
        assert f"{name}/pooled_dense/kernel" in checkpoint.initial


def test_d14_a_part_of_a_checkpoint_is_taken_if_asked_for(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "encoder")
    name = "realm.encoder.layer.1.output.dense.weight"
    rewrite(folder, lambda t: t.__setitem__("other", t.pop(name)))
    checkpoint = load(folder, partial=True)
    path = "transformer_layer_1/feedforward_output_dense/kernel"
    assert checkpoint.initial == (f"encoder/{path}",)
    assert checkpoint.skipped["other"] == "left over"
    table = "realm.embeddings.word_embeddings.weight"
    rewrite(folder, lambda t: t.pop(table))
    with pytest.raises(CheckpointError, match=f"no {table}, which tells"):
        load(folder, partial=True)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(release, tmp_path, dtype):
    folder = release.write_hugging_face(tmp_path, "reader")

    def halve(tensors):
        for name, value in tensors.items():
            tensors[name] = value.astype(dtype)

    rewrite(folder, halve)
    kernel = load(folder).parts.reader.score_dense.kernel
    expected = release.READER["dense_1/kernel"].astype(dtype)
    np.testing.assert_array_equal(kernel, expected.astype(np.float32))


def test_the_featurizer_is_that_of_the_checkpoint(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "openqa")
    checkpoint = load(folder)
    featurizer = checkpoint.parts.featurizer
    assert featurizer.pad_id == 0  # whatever `pad_token_id` says
    assert any("`pad_token_id` 1" in note for note in checkpoint.notes)
    assert featurizer.lowercase
    assert not featurizer.joint_title
    assert (featurizer.joint_length, featurizer.block_length) == (96, 128)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("embedder", "cls.dense.bias"),
        ("embedder", "realm.pooler.dense.bias"),
        ("encoder", "realm.encoder.layer.1.output.dense.weight"),
        ("reader", "qa_outputs.layer_normalization.weight"),
        ("openqa", "reader.realm.embeddings.word_embeddings.weight"),
    ],
)
def test_a_renamed_variable_is_named_on_both_sides(
    release, tmp_path, layout, name
):
    folder = release.write_hugging_face(tmp_path, layout)
    rewrite(folder, lambda t: t.__setitem__("renamed.variable", t.pop(name)))
    message = f"Missing: {name}. Left over: .*renamed.variable"
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_an_extra_variable_is_named(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    rewrite(folder, lambda t: t.update(extra=np.zeros(2, np.float32)))
    message = "Missing: none. Left over: extra"
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_variable_of_another_shape_is_named(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    name = "realm.encoder.layer.0.output.dense.bias"
    rewrite(folder, lambda t: t.update({name: np.zeros(3, np.float32)}))
    message = f"{name}: expected \\(16,\\), found \\(3,\\)"
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_scalar_in_place_of_a_table_is_refused(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    name = "realm.embeddings.LayerNorm.weight"
    rewrite(folder, lambda t: t.update({name: np.array(1, np.float32)}))
    with pytest.raises(CheckpointError, match=f"{name} of shape"):
        load(folder)


def test_a_pooler_that_nothing_reads_may_be_missing(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    rewrite(folder, lambda t: t.pop("realm.pooler.dense.bias"))
    checkpoint = load(folder)
    assert checkpoint.initial == ("reader/pooled_dense/bias",)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("hidden_act", "relu", "`hidden_act` in .* Received: 'relu'"),
        ("hidden_act", "gelu", "`hidden_act` in .* Received: 'gelu'"),
        ("layer_norm_eps", 1e-5, "Received: 'gelu_new' and 1e-05"),
        ("model_type", "t5", "`model_type` must be one of .*'t5'"),
        ("num_hidden_layers", 3, "`num_hidden_layers` .* 3 in .*, 2 in"),
        ("vocab_size", 7, "`vocab_size` must be that of the weights"),
    ],
)
def test_a_configuration_of_something_else_is_refused(
    release, tmp_path, setting, value, message
):
    folder = release.write_hugging_face(tmp_path, "reader")
    change(folder, **{setting: value})
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_the_heads_come_from_the_configuration(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    assert load(folder).parts.reader.backbone.num_heads == 4
    assert load(folder, num_heads=2).parts.reader.backbone.num_heads == 2
    change(folder, num_attention_heads=5)
    with pytest.raises(CheckpointError, match="`num_heads` must be given"):
        load(folder)


def test_dropout_and_dtype_reach_the_trunk(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    change(folder, hidden_dropout_prob=0.3)
    assert load(folder).parts.reader.backbone.dropout == 0.3
    trunk = load(folder, dropout=0.0, dtype="mixed_bfloat16").parts.reader
    assert trunk.backbone.dropout == 0.0
    assert trunk.dtype_policy.name == "mixed_bfloat16"


def test_sharded_weights_are_joined(release, tmp_path):
    folder = release.write_hugging_face(tmp_path, "reader")
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    path.unlink()
    names = sorted(tensors)
    weight_map = {}
    for shard, part in enumerate((names[::2], names[1::2])):
        file = f"model-0000{shard}.safetensors"
        safetensors.numpy.save_file(
            {n: tensors[n] for n in part}, folder / file
        )
        weight_map |= dict.fromkeys(part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert is_hugging_face(folder)
    check_reader(release, load(folder).parts.reader, release.READER)
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="files of its own folder"):
        load(folder)


def test_a_folder_without_weights_is_refused(tmp_path):
    assert not is_hugging_face(tmp_path)
    with pytest.raises(CheckpointError, match="Received: neither"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_configuration_is_named(release, tmp_path, content):
    folder = release.write_hugging_face(tmp_path, "reader")
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="config.json must hold a JSON"):
        load(folder)
