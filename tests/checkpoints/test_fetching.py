import importlib
import pathlib
import subprocess
import sys
import types

import pytest
import tensorflow as tf

from realm_tf.checkpoints.fetching import fetched
from realm_tf.errors import CheckpointError


def test_a_local_path_stays_as_it_is(tmp_path):
    assert fetched(tmp_path) == tmp_path
    assert fetched("a/b") == pathlib.Path("a/b")


def test_what_tensorflow_reads_is_copied(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables/a").write_text("x")
    copied = fetched(f"file://{tmp_path}")
    assert copied != tmp_path
    assert (copied / "variables/a").read_text() == "x"


def test_a_copy_is_removed_when_the_process_ends(tmp_path):
    (tmp_path / "a").write_text("x")
    code = (
        "from realm_tf.checkpoints.fetching import fetched\n"
        f"print(fetched('file://{tmp_path}'))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    copied = pathlib.Path(process.stdout.strip())
    assert copied.name.startswith("realm_tf-")
    assert not copied.exists()


def test_names_that_lead_out_of_the_copy_are_refused(monkeypatch):
    found = [
        ("gs://bucket/x", ["../../etc"], []),
        ("gs://bucket/x/..", [], "a"),
    ]
    monkeypatch.setattr(tf.io.gfile, "walk", lambda root: found)
    with pytest.raises(CheckpointError, match=r"names without '\.\.'"):
        fetched("gs://bucket/x")


def test_what_cannot_be_read_says_how_to_fetch_it(tmp_path):
    with pytest.raises(CheckpointError, match="gsutil cp -r file://"):
        fetched(f"file://{tmp_path}/nothing")


def test_the_hub_is_asked_for_what_is_needed(monkeypatch, tmp_path):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, "*.safetensors" in allow_patterns))
        return str(tmp_path)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setattr(importlib, "import_module", lambda _: hub)
    assert fetched("hf://google/realm") == tmp_path
    assert asked == [("google/realm", True)]


def test_without_a_network_the_error_says_how_to_fetch_it(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise ConnectionError("no network")

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setattr(importlib, "import_module", lambda _: hub)
    message = "no network. Download it by hand, `git clone https://hugging"
    with pytest.raises(CheckpointError, match=message):
        fetched("hf://google/realm")


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        fetched("hf://google/realm")
