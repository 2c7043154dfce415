import click
import pytest

from realm_tf import __version__
from realm_tf.cli import main


@pytest.fixture
def raising(monkeypatch):
    """Makes `realm-tf index info .` raise."""

    def make(error):
        def find_version(*_):
            raise error

        monkeypatch.setattr(
            "realm_tf.retrieval.index.index_versions.find_version", find_version
        )
        return ("index", "info", ".")

    return make


def test_version_and_help_succeed(run):
    assert __version__ in run("--version").stdout
    assert "evaluate" in run("--help").stdout
    assert run("corpus", "-h").stdout.startswith("Usage:")


@pytest.mark.parametrize(
    "args", [("no-such-command",), ("--no-such-option",), ("corpus", "x")]
)
def test_wrong_use_is_code_2(args, fail):
    assert "Usage:" in fail(*args, code=2)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        OSError(5, "wrong"),
        RuntimeError("wrong"),
        ImportError("wrong"),
        click.ClickException("wrong"),
    ],
)
def test_failures_are_one_message_and_code_1(error, fail, raising):
    assert fail(*raising(error)) == "Error: wrong\n"


@pytest.mark.parametrize("name", ["tensorflow", "array_record"])
def test_missing_package_is_code_2_with_the_command(name, fail, raising):
    error = ModuleNotFoundError(f"No module named {name!r}", name=name)
    assert fail(*raising(error), code=2) == (
        f"Error: This command needs TensorFlow and Keras. Received: {name} is "
        "not installed. Install them with `pip install 'realm-tf[tf]'`.\n"
    )


def test_missing_package_keeps_its_own_advice(fail, raising):
    error = ModuleNotFoundError("`pip install x`.", name="x")
    assert fail(*raising(error), code=2) == "Error: `pip install x`.\n"


def test_interruption_is_code_130(fail, raising):
    assert fail(*raising(KeyboardInterrupt()), code=130) == "Interrupted.\n"


def test_debug_shows_the_traceback(raising):
    runner = click.testing.CliRunner()
    result = runner.invoke(main, [*raising(ValueError("wrong")), "--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("Error: wrong\n")


def test_a_reader_that_went_away_is_no_error(fail, raising):
    assert fail(*raising(BrokenPipeError(32, "Broken pipe"))) == ""


def test_the_command_starts_without_tensorflow(spawn):
    for args in (("--help",), ("ask", "--help"), ("index", "info", "nowhere")):
        result = spawn(*args, python=("-X", "importtime"))
        assert " tensorflow" not in result.stderr
        assert " numpy" not in result.stderr
    assert result.exit_code == 2


def test_a_process_without_a_home_answers_without_noise(full_preset, spawn):
    # E4: nothing is downloaded, nothing is needed outside of the folders.
    result = spawn(
        *("ask", "--preset", full_preset, "Who wrote Emma?", "--json"),
        HOME=None,
        TF_CPP_MIN_LOG_LEVEL=None,
        KERAS_BACKEND=None,
        http_proxy="http://127.0.0.1:9",
        https_proxy="http://127.0.0.1:9",
    )
    assert result.exit_code == 0
    assert result.json["question"] == "Who wrote Emma?"
    assert result.stderr == ""
