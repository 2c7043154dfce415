import json
import shutil

import pytest

from realm_tf.serving.bundle import read_bundle
from realm_tf.serving.export.server_configs import XLA_FLAG


@pytest.fixture(scope="session")
def exported(full_preset, run, tmp_path_factory):
    """What the command wrote, for reading only."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    options = ("--models", "query_embedder, qa", "--num-answers", 2)
    command = ("export", "--preset", full_preset, "--output", folder)
    facts = run(*command, *options, "--json").json
    return folder, facts


def test_export_writes_a_bundle(exported):
    folder, facts = exported
    bundle = read_bundle(folder)
    assert facts["models"] == bundle.models
    assert bundle.models == {"realm_query_embedder": 1, "realm_qa": 1}
    assert (bundle.corpus, bundle.index) == ("corpus", "index")
    assert bundle.num_answers == 2
    assert facts["bytes"] > 0
    assert str(folder) in (folder / "models.config").read_text("utf-8")


def test_check_lists_operations_and_fails_on_others(
    exported, fail, run, tmp_path
):
    folder, _ = exported
    facts = run("export", "--check", folder, "--json").json
    assert facts["valid"] and not facts["needs_xla"]
    assert "FastBertNormalize" in facts["ops"]
    assert facts["num_ops"] == len(facts["ops"])
    model = folder / "realm_qa" / "1"
    assert run("export", "--check", model, "--json").json["models"] == [
        str(model)
    ]
    copy = shutil.copytree(model, tmp_path / "model")
    graph = copy / "saved_model.pb"
    raw = graph.read_bytes()
    assert b"FastBertNormalize" in raw
    graph.write_bytes(raw.replace(b"FastBertNormalize", b"FastBurtNormalize"))
    assert "FastBurtNormalize" in fail("export", "--check", copy)
    assert "bundle.json" in fail("export", "--check", tmp_path)


def test_export_without_a_corpus_and_with_xla(preset, run, tmp_path):
    command = ("export", "--preset", preset, "--output", tmp_path / "out")
    options = ("--models", "query_embedder", "--jit-compile")
    where = ("--server-path", "/models", "--json")
    result = run(*command, *options, *where)
    facts = json.loads(result.stdout)
    assert (facts["corpus"], facts["index"]) == (None, None)
    assert XLA_FLAG in result.stderr
    text = (tmp_path / "out" / "models.config").read_text("utf-8")
    assert '"/models/realm_query_embedder"' in text
    checked = run("export", "--check", tmp_path / "out", "--json").json
    assert checked["needs_xla"] is True


def test_model_with_scann_says_what_server_it_needs(preset, fail, tmp_path):
    command = ("export", "--preset", preset, "--output", tmp_path / "out")
    said = fail(*command, "--models", "scann_qa")
    assert "linked with ScaNN" in said and "must have an index" in said


def test_export_says_what_is_missing(fail, preset, tmp_path):
    assert "must be given" in fail("export", code=2)
    assert "must be given" in fail("export", "--preset", preset, code=2)
    command = ("export", "--preset", preset, "--output", tmp_path / "out")
    assert "must have an index" in fail(*command, "--models", "qa")
    assert "realm_encoder" in fail(*command, "--models", "encoder")
