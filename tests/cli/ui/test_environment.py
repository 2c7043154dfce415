import click
import pytest

from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.options import Settings


@pytest.fixture
def prepare(monkeypatch):
    def in_environment(debug=False, **environment):
        for name in (
            "KERAS_BACKEND",
            "TF_USE_LEGACY_KERAS",
            "TF_CPP_MIN_LOG_LEVEL",
        ):
            # Set first: what the code sets is then undone too.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        context = click.Context(click.Command("x"), obj=Settings(debug=debug))
        with context:
            prepare_tensorflow()

    return in_environment


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused(prepare, backend):
    with pytest.raises(click.ClickException, match="Unset KERAS_BACKEND"):
        prepare(KERAS_BACKEND=backend)


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_legacy_keras_is_refused(prepare, value):
    with pytest.raises(click.ClickException, match="Unset TF_USE_LEGACY_KERAS"):
        prepare(TF_USE_LEGACY_KERAS=value)


def test_an_ordinary_environment_is_accepted(prepare, monkeypatch):
    import os

    prepare(KERAS_BACKEND="tensorflow", TF_USE_LEGACY_KERAS="0")
    prepare(KERAS_BACKEND="")
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_tensorflow_logs_if_asked_to(prepare):
    import os

    prepare(debug=True)
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    prepare(TF_CPP_MIN_LOG_LEVEL="1")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"


@pytest.mark.parametrize(
    ("name", "value"), [("KERAS_BACKEND", "jax"), ("TF_USE_LEGACY_KERAS", "1")]
)
def test_commands_without_tensorflow_work_anywhere(
    corpus, spawn, name, value, tmp_path
):
    assert spawn("--help", **{name: value}).exit_code == 0
    info = spawn("corpus", "info", corpus, "--json", **{name: value})
    assert info.json["num_blocks"] == 4
    source = tmp_path / "a.txt"
    source.write_text("Emma.")
    output = tmp_path / "corpus"
    failed = spawn("corpus", "build", source, "-o", output, **{name: value})
    assert failed.exit_code == 1
    assert f"Unset {name}" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_tensorflow_that_is_not_installed_is_named(prepare, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        prepare()
    assert caught.value.name == "tensorflow"
