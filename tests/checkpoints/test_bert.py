import json
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy

from realm_tf.checkpoints.bert import BertFolder, is_bert_folder
from realm_tf.engine.text_embedder import TextEmbedder

ASKED = ["Who wrote Emma?", "the war"]


def assert_embeds(bert, parts, expected, rtol):
    """`ASKED` has these embeddings, by the layer and by the engine."""
    embedder, featurizer = parts.query_embedder, bert.featurizer
    for got in (
        embedder(featurizer.questions(ASKED)),
        TextEmbedder(embedder, featurizer).questions(ASKED),
    ):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-4)


@pytest.fixture
def folder(tiny_bert, tmp_path):
    """A copy that the test may change."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


def set_json(file, **values):
    file.parent.mkdir(exist_ok=True)
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(old | values))


def write_modules(folder, kinds, transformer=""):
    modules = []
    for i, kind in enumerate(kinds):
        path = f"{i}_{kind}" if i else transformer
        modules.append(
            {"idx": i, "path": path, "type": f"sentence_transformers.{kind}"}
        )
    (folder / "modules.json").write_text(json.dumps(modules))
    set_json(folder / "1_Pooling" / "config.json", pooling_mode="mean")


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


def test_a_sentence_encoder_keeps_the_cosines_of_its_means(folder):
    set_json(folder / "1_Pooling" / "config.json", pooling_mode="mean")
    bert = BertFolder.open(folder)
    parts = bert.load_parts()
    assert parts.options == {"projection_fitted": True, "lexical_weight": 0.8}
    texts = bert.featurizer.questions(ASKED)
    states = bert.load_backbone()(texts)["sequence_output"].numpy()
    mask = texts["padding_mask"].numpy()[..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    unit = means / np.linalg.norm(means, axis=-1, keepdims=True)
    found = np.asarray(parts.query_embedder(texts))
    np.testing.assert_allclose(
        found @ found.T, 20 * unit @ unit.T, rtol=1e-4, atol=1e-4
    )
    packed = TextEmbedder(parts.query_embedder, bert.featurizer)
    np.testing.assert_allclose(
        packed.questions(["Who wrote Emma?", "the war"]),
        found,
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_narrower_width_is_to_be_fitted(folder):
    set_json(folder / "1_Pooling" / "config.json", pooling_mode="mean")
    parts = BertFolder.open(folder).load_parts(embedding_dim=3)
    assert parts.query_embedder.embedding_dim == 3
    assert parts.options == {"projection_fitted": False, "lexical_weight": 0.8}


@pytest.mark.parametrize("is_dot", [True, False])
def test_the_state_of_cls_is_read_without_the_pooler(folder, is_dot):
    set_json(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True)
    name = "dot" if is_dot else None
    set_json(
        folder / "config_sentence_transformers.json", similarity_fn_name=name
    )
    bert = BertFolder.open(folder)
    assert bert.pooling == "first"
    texts = bert.featurizer.questions(ASKED)
    first = bert.load_backbone()(texts)["sequence_output"].numpy()[:, 0]
    if not is_dot:
        first *= 20**0.5 / np.linalg.norm(first, axis=-1, keepdims=True)
    assert_embeds(bert, bert.load_parts(), first, rtol=1e-4)


@pytest.mark.parametrize("has_normalize", [True, False])
def test_a_dense_module_is_the_projection(folder, has_normalize):
    modules = ["Transformer", "Pooling", "Dense"]
    write_modules(folder, modules + ["Normalize"] * has_normalize)
    set_json(
        folder / "config_sentence_transformers.json", similarity_fn_name="dot"
    )
    set_json(
        folder / "2_Dense" / "config.json",
        in_features=4,
        out_features=3,
        bias=True,
        activation_function="torch.nn.modules.activation.Tanh",
    )
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    safetensors.numpy.save_file(
        {
            "linear.weight": weight.astype(np.float32),
            "linear.bias": bias.astype(np.float32),
        },
        folder / "2_Dense" / "model.safetensors",
    )
    bert = BertFolder.open(folder)
    texts = bert.featurizer.questions(ASKED)
    states = bert.load_backbone()(texts)["sequence_output"].numpy()
    mask = texts["padding_mask"].numpy()[..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    expected = np.tanh(means @ weight.T + bias)
    if has_normalize:
        expected *= 20**0.5 / np.linalg.norm(expected, axis=-1, keepdims=True)
    parts = bert.load_parts()
    weight = 0.8 if has_normalize else 0.0
    assert parts.options == {
        "projection_fitted": True,
        "lexical_weight": weight,
    }
    assert_embeds(bert, parts, expected, rtol=1e-3)
    with pytest.raises(ValueError, match="`embedding_dim` must be 3, the wid"):
        bert.load_parts(embedding_dim=2)


def test_a_dense_module_of_another_shape_is_refused(folder):
    write_modules(folder, ["Transformer", "Pooling", "Dense"])
    set_json(
        folder / "2_Dense" / "config.json",
        out_features=3,
        activation_function="torch.nn.modules.linear.Identity",
    )
    safetensors.numpy.save_file(
        {"linear.weight": np.zeros((3, 5), np.float32)},
        folder / "2_Dense" / "model.safetensors",
    )
    with pytest.raises(
        ValueError, match=r"linear.weight of shape \(3, 5\), no"
    ):
        BertFolder.open(folder).load_parts()


def test_prompts_and_lengths_reach_the_featurizer(folder):
    write_modules(folder, ["Transformer", "Pooling"])
    set_json(folder / "sentence_bert_config.json", max_seq_length=40)
    set_json(
        folder / "config_sentence_transformers.json",
        prompts={"query": "who ", "passage": "the "},
    )
    bert = BertFolder.open(folder)
    assert bert.featurizer.query_prompt == "who "
    assert bert.featurizer.block_prompt == "the "
    assert bert.featurizer.block_length == bert.featurizer.query_length == 40
    own = BertFolder.open(folder, query_prompt="", block_length=50)
    assert own.featurizer.query_prompt == ""
    assert own.featurizer.block_length == 50


def test_an_older_folder_keeps_the_transformer_apart(folder, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    folder.rename(outer / "0_Transformer")
    set_json(outer / "1_Pooling" / "config.json", pooling_mode="mean")
    assert is_bert_folder(outer)
    assert BertFolder.open(outer).path == outer / "0_Transformer"
    write_modules(outer, ["Transformer", "Pooling"], "0_Transformer")
    assert BertFolder.open(outer).path == outer / "0_Transformer"


def test_sharded_weights_are_one_model(folder):
    whole = BertFolder.open(folder).load_backbone()
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    homes = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    for part in set(homes.values()):
        safetensors.numpy.save_file(
            {n: weights[n] for n in names if homes[n] == part}, folder / part
        )
    set_json(folder / "model.safetensors.index.json", weight_map=homes)
    assert is_bert_folder(folder)
    found = BertFolder.open(folder).load_backbone()
    for a, b in zip(found.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_a_backbone_without_a_pooler_is_read_and_others_are_not(folder):
    file = folder / "model.safetensors"
    weights = safetensors.numpy.load_file(file)
    kept = {k: v for k, v in weights.items() if not k.startswith("pooler")}
    safetensors.numpy.save_file(kept, file)
    assert BertFolder.open(folder).load_backbone().num_layers == 2
    kept.pop("embeddings.LayerNorm.bias")
    safetensors.numpy.save_file(kept, file)
    with pytest.raises(ValueError, match="Missing: embeddings.LayerNorm.bias"):
        BertFolder.open(folder).load_backbone()


def test_a_vocabulary_may_be_in_the_tokenizer_alone(folder):
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    (folder / "vocab.txt").unlink()
    set_json(
        folder / "tokenizer.json",
        model={
            "type": "WordPiece",
            "continuing_subword_prefix": "##",
            "vocab": {word: i for i, word in enumerate(words)},
        },
        normalizer={"type": "BertNormalizer", "lowercase": False},
        pre_tokenizer={"type": "BertPreTokenizer"},
    )
    featurizer = BertFolder.open(folder).featurizer
    assert list(featurizer.vocabulary) == words
    assert not featurizer.lowercase


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
        ["config.json", "model.safetensors"],
    ],
)
def test_missing_files_are_named(folder, gone):
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(ValueError, match=f"bert, without {', '.join(gone)}\\."):
        BertFolder.open(folder)


def test_a_folder_without_a_vocabulary_is_refused(folder):
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match="must have a vocabulary. Received"):
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
    message = f"{len(words)} words for {rows} rows"
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
