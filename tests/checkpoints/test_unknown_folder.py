import json

import pytest

from realm_tf.checkpoints.unknown_folder import describe


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "a folder with nothing. Download the whole folder"),
        (["config.json"], "config.json. Download its weights too"),
        (["model.safetensors"], "Download its config.json too"),
        (["config.json", "tf_model.h5"], "Download its weights too"),
        (["tf_model.h5"], "Take the weights as model.safetensors"),
        (
            ["bundle.json", "index"],
            "bundle.json, index. Serve it: `realm-tf ser",
        ),
        (["saved_model.pb"], "An exported model has no variables"),
        (["corpus.jsonl", "queries.jsonl"], "`realm-tf corpus build`"),
        (["notes.txt"], "`realm-tf corpus build`"),
        (["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"),
    ],
)
def test_the_nearest_right_command_is_named(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    assert message in describe(tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("preset", "of realm_tf, preset. It is imported already"),
        ("corpus", "of realm_tf, corpus. Build an index of it"),
        ("index", "of realm_tf, index. Use it with its preset"),
    ],
)
def test_folders_of_this_library_are_known(tmp_path, kind, message):
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": kind}))
    assert message in describe(tmp_path)


def test_prefixes_of_checkpoints_are_named(tmp_path):
    for name in ("bert.index", "bert.data-00000-of-00001", "orqa.index"):
        (tmp_path / name).touch()
    expected = f"Name one of its checkpoints: {tmp_path}/bert, {tmp_path}/orqa."
    assert expected in describe(tmp_path)


def test_paths_that_are_no_folders_are_told(tmp_path):
    (tmp_path / "file").touch()
    assert describe(tmp_path / "file").startswith("a file. Name the folder")
    assert (
        describe(tmp_path / "none") == "which does not exist. Check the path."
    )
