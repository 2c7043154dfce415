import json
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy

from realm_tf.checkpoints.bert import BertFolder


@pytest.fixture
def folder(tiny_bert, tmp_path):
    """A copy that the test may change."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


def set_json(file, **values):
    file.parent.mkdir(exist_ok=True)
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(old | values))


def test_a_plain_folder_is_pooled_by_cls(tiny_bert):
    bert = BertFolder.open(tiny_bert)
    assert (bert.path, bert.pooling, bert.hidden_dim) == (tiny_bert, "cls", 4)
    words = (tiny_bert / "vocab.txt").read_text("utf-8").splitlines()
    assert list(bert.featurizer.vocabulary) == words


def test_a_sentence_encoder_is_pooled_by_mean_and_keeps_its_width(folder):
    set_json(
        folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=True
    )
    bert = BertFolder.open(str(folder))
    assert bert.pooling == "mean"
    assert bert.load_parts().query_embedder.embedding_dim == 4
    assert bert.load_parts(pooling="cls").query_embedder.embedding_dim == 128


@pytest.mark.parametrize("mode", ["mean", ["mean"], "cls", ["mean", "max"]])
def test_the_pooling_of_newer_sentence_encoders_is_named(folder, mode):
    set_json(folder / "1_Pooling" / "config.json", pooling_mode=mode)
    is_mean = mode in ("mean", ["mean"])
    assert BertFolder.open(folder).pooling == ("mean" if is_mean else "cls")


def test_a_sentence_encoder_with_another_pooling_is_pooled_by_cls(folder):
    set_json(
        folder / "1_Pooling" / "config.json",
        pooling_mode_cls_token=True,
        pooling_mode_mean_tokens=False,
    )
    assert BertFolder.open(folder).pooling == "cls"


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_tokenizer_says_whether_it_lowers_the_case(folder, lowercase):
    assert BertFolder.open(folder).featurizer.lowercase is True
    set_json(folder / "tokenizer_config.json", do_lower_case=lowercase)
    assert BertFolder.open(folder).featurizer.lowercase is lowercase
    chosen = BertFolder.open(folder, lowercase=not lowercase)
    assert chosen.featurizer.lowercase is not lowercase


def test_featurizer_options_reach_the_featurizer(tiny_bert):
    bert = BertFolder.open(tiny_bert, block_length=40, joint_title=False)
    assert bert.featurizer.block_length == 40
    assert bert.featurizer.joint_title is False


def test_a_backbone_has_the_weights_of_the_file(tiny_bert):
    backbone = BertFolder.open(tiny_bert).load_backbone()
    saved = safetensors.numpy.load_file(tiny_bert / "model.safetensors")
    for layer, name in (
        (backbone.token_embedding, "embeddings.word_embeddings.weight"),
        (backbone.embeddings_layer_norm, "embeddings.LayerNorm.weight"),
    ):
        np.testing.assert_array_equal(layer.get_weights()[0], saved[name])
    kernel, bias = backbone.pooled_dense.get_weights()
    np.testing.assert_array_equal(kernel, saved["pooler.dense.weight"].T)
    np.testing.assert_array_equal(bias, saved["pooler.dense.bias"])
    assert backbone.num_layers == 2
    assert backbone.max_sequence_length == 512


def test_the_head_of_masked_words_is_loaded_where_there_is_one(folder):
    assert BertFolder.open(folder).load_parts().encoder is None
    rng = np.random.default_rng(1)
    file = folder / "model.safetensors"
    weights = safetensors.numpy.load_file(file)
    size = len(weights["embeddings.word_embeddings.weight"])
    head = {
        "transform.dense.weight": rng.normal(size=(4, 4)),
        "transform.dense.bias": rng.normal(size=4),
        "transform.LayerNorm.weight": rng.normal(size=4),
        "transform.LayerNorm.bias": rng.normal(size=4),
        "bias": rng.normal(size=size),
    }
    for name, value in head.items():
        weights[f"cls.predictions.{name}"] = value.astype(np.float32)
    safetensors.numpy.save_file(weights, file)
    parts = BertFolder.open(folder).load_parts(dropout=0.3)
    encoder = parts.encoder
    assert encoder.backbone.dropout == 0.3
    found = {w.path.split("masked_lm_head/")[-1]: w for w in encoder.weights}
    np.testing.assert_array_equal(
        found["output_bias"], weights["cls.predictions.bias"]
    )
    for a, b in zip(
        encoder.backbone.weights, parts.reader.backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_dropout_and_dtype_reach_the_backbone(tiny_bert):
    bert = BertFolder.open(tiny_bert)
    backbone = bert.load_backbone(dropout=0.3, dtype="mixed_bfloat16")
    assert backbone.dropout == 0.3
    assert backbone.dtype_policy.name == "mixed_bfloat16"
    assert {weight.dtype for weight in backbone.weights} == {"float32"}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = bert.load_backbone()
    finally:
        keras.config.set_dtype_policy(before)
    assert backbone.dtype_policy.name == "mixed_float16"
    assert backbone.dropout == 0.1


@pytest.mark.parametrize(
    "gone",
    [
        ["config.json"],
        ["model.safetensors"],
        ["vocab.txt"],
        ["model.safetensors", "vocab.txt"],
    ],
)
def test_missing_files_are_named(folder, gone):
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(ValueError, match=f"bert, without {', '.join(gone)}\\."):
        BertFolder.open(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere, without config.json, model"):
        BertFolder.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "roberta"),
        ("model_type", None),
        ("hidden_act", "relu"),
        ("position_embedding_type", "relative_key"),
    ],
)
def test_another_family_of_models_is_refused(folder, name, value):
    set_json(folder / "config.json", **{name: value})
    message = f"`{name}` must be one of .* Received: {value!r} in .*bert/config"
    with pytest.raises(ValueError, match=message):
        BertFolder.open(folder)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_what_the_trunk_computes_is_allowed(folder, activation):
    set_json(
        folder / "config.json",
        hidden_act=activation,
        position_embedding_type="absolute",
    )
    assert BertFolder.open(folder).hidden_dim == 4


def test_a_vocabulary_larger_than_the_embedding_table_is_refused(folder):
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    rows = len(words) - 1
    set_json(folder / "config.json", vocab_size=rows)
    message = f"{len(words)} words in vocab.txt, {rows} rows in config.json"
    with pytest.raises(ValueError, match=message):
        BertFolder.open(folder)


def test_a_vocabulary_smaller_than_the_embedding_table_is_allowed(folder):
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    (folder / "vocab.txt").write_text("\n".join(words[:-1]), "utf-8")
    assert BertFolder.open(folder).featurizer.vocabulary_size == len(words) - 1


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("content", [b'{"model_type": ', b"\xff", b"[]"])
def test_broken_json_is_named(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=f"bert/{name} must hold a JSON object"
    ):
        BertFolder.open(folder)


def test_logit_scale_is_the_product_of_an_embedding_with_itself(tiny_bert):
    folder = BertFolder.open(tiny_bert)
    for scale, expected in ((None, 8), (2.0, 2)):
        parts = folder.load_parts(embedding_dim=8, logit_scale=scale)
        texts = folder.featurizer.questions(["Who wrote Emma?", "the war"])
        embeddings = np.asarray(parts.query_embedder(texts))
        products = (embeddings**2).sum(-1)
        np.testing.assert_allclose(products, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "options", [{"logit_scale": 0.0}, {"logit_scale": 20, "pooling": "mean"}]
)
def test_logit_scale_that_cannot_be_set_is_refused(tiny_bert, options):
    folder = BertFolder.open(tiny_bert)
    with pytest.raises(ValueError, match="`logit_scale` must be positive"):
        folder.load_parts(**options)
