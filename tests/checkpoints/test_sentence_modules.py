import json

import pytest

from realm_tf.checkpoints.sentence_modules import (
    is_sentence_folder,
    read_modules,
)
from realm_tf.errors import CheckpointError

DENSE = {
    "in_features": 4,
    "out_features": 3,
    "activation_function": "torch.nn.modules.activation.Tanh",
}


def write(folder, kinds=("Transformer", "Pooling"), **files):
    """A folder of modules; `files` are pooling, dense, st and bert."""
    names = {
        "pooling": "1_Pooling/config.json",
        "dense": "2_Dense/config.json",
        "st": "config_sentence_transformers.json",
        "bert": "sentence_bert_config.json",
        "tokenizer": "tokenizer_config.json",
    }
    files = {"pooling": {"pooling_mode": "mean"}, "dense": DENSE} | files
    for key, content in files.items():
        file = folder / names[key]
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    modules = [
        {
            "idx": i,
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def test_folders_are_known_by_modules_or_pooling(tmp_path):
    assert not is_sentence_folder(tmp_path)
    write(tmp_path)
    assert is_sentence_folder(tmp_path)
    (tmp_path / "modules.json").unlink()
    assert is_sentence_folder(tmp_path)
    assert read_modules(tmp_path).transformer == tmp_path


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            "first",
        ),
    ],
)
def test_poolings_old_and_new_are_read(tmp_path, config, pooling):
    assert read_modules(write(tmp_path, pooling=config)).pooling == pooling


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": ["mean", "max"]}, "mean, max"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({}, "none"),
    ],
)
def test_other_poolings_are_refused_by_name(tmp_path, config, name):
    folder = write(tmp_path, pooling=config)
    with pytest.raises(CheckpointError, match=f"mean, cls. Received: {name} i"):
        read_modules(folder)


def test_modules_after_pooling_are_read(tmp_path):
    after = ["Transformer", "Pooling"]
    assert read_modules(write(tmp_path, after)).dense is None
    modules = read_modules(write(tmp_path, [*after, "Dense", "Normalize"]))
    assert modules.dense.folder == tmp_path / "2_Dense"
    assert modules.dense.activation == "tanh"
    assert modules.dense.embedding_dim == 3
    assert not modules.normalize_states


def test_a_normalize_before_dense_is_told_from_one_after(tmp_path):
    folder = write(tmp_path, ["Transformer", "Pooling", "Normalize", "Dense"])
    (folder / "2_Dense").rename(folder / "3_Dense")
    assert read_modules(folder).normalize_states


@pytest.mark.parametrize(
    "kinds",
    [
        ["Transformer", "Pooling", "Dense", "Dense"],
        ["Transformer", "Dense", "Pooling"],
        ["WordEmbeddings", "Pooling"],
        ["Transformer", "Pooling", "LayerNorm"],
        ["SparseAutoEncoder"],
        ["Transformer"],
    ],
)
def test_other_modules_are_refused_by_name(tmp_path, kinds):
    folder = write(tmp_path, kinds)
    with pytest.raises(
        CheckpointError, match=f"Received: {', '.join(kinds)} in .*modules.json"
    ):
        read_modules(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"activation_function": "torch.nn.modules.activation.Mish"},
        {"module_input_name": "token_embeddings"},
    ],
)
def test_other_dense_layers_are_refused(tmp_path, change):
    folder = write(
        tmp_path, ["Transformer", "Pooling", "Dense"], dense=DENSE | change
    )
    with pytest.raises(CheckpointError, match="A Dense module must turn the"):
        read_modules(folder)


@pytest.mark.parametrize(
    ("name", "kinds", "is_cosine"),
    [
        (None, (), True),
        ("cosine", (), True),
        ("dot", (), False),
        ("dot", ("Normalize",), True),
    ],
)
def test_how_embeddings_are_compared_is_read(tmp_path, name, kinds, is_cosine):
    kinds = ("Transformer", "Pooling", *kinds)
    folder = write(tmp_path, kinds, st={"similarity_fn_name": name})
    assert read_modules(folder).is_cosine is is_cosine


def test_another_comparison_is_refused(tmp_path):
    folder = write(tmp_path, st={"similarity_fn_name": "euclidean"})
    with pytest.raises(CheckpointError, match="Received: 'euclidean' in"):
        read_modules(folder)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("", "")),
        ({"prompts": {"query": "q: ", "document": "d: "}}, ("q: ", "d: ")),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, ("q: ", "p: ")),
        ({"prompts": {"query": "q: ", "document": ""}}, ("q: ", "")),
        (
            {"prompts": {"any": "a: "}, "default_prompt_name": "any"},
            ("a: ", "a: "),
        ),
        ({"prompts": {"clustering": "c: "}}, ("", "")),
    ],
)
def test_prompts_belong_to_a_side(tmp_path, settings, expected):
    modules = read_modules(write(tmp_path, st=settings))
    assert (modules.query_prompt, modules.block_prompt) == expected


def test_prompts_that_are_not_pooled_are_refused(tmp_path):
    pooling = {"pooling_mode": "mean", "include_prompt": False}
    folder = write(
        tmp_path, pooling=pooling, st={"prompts": {"query": "query: "}}
    )
    with pytest.raises(CheckpointError, match="`include_prompt` must be true"):
        read_modules(folder)
    assert read_modules(write(tmp_path, pooling=pooling, st={})).pooling


def test_the_length_is_read(tmp_path):
    assert read_modules(write(tmp_path)).max_seq_length is None
    folder = write(tmp_path, bert={"max_seq_length": 128})
    assert read_modules(folder).max_seq_length == 128


def test_lower_case_without_that_of_the_tokenizer_is_refused(tmp_path):
    folder = write(tmp_path, bert={"do_lower_case": True})
    read_modules(folder)
    write(tmp_path, tokenizer={"do_lower_case": False})
    with pytest.raises(CheckpointError, match="`do_lower_case` of sentence_be"):
        read_modules(folder)


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"idx": 0}]'])
def test_a_damaged_list_of_modules_is_refused(tmp_path, content):
    folder = write(tmp_path)
    (folder / "modules.json").write_text(content)
    with pytest.raises(
        CheckpointError, match="modules.json must list modu|Tra"
    ):
        read_modules(folder)


@pytest.mark.parametrize("path", ["../x", "/etc"])
def test_paths_outside_are_refused(tmp_path, path):
    folder = write(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="within its own. Received"):
        read_modules(folder)
