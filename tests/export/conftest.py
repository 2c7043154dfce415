import os
import pathlib
import subprocess
import sys

import pytest

import realm_tf

SCRIPTS = pathlib.Path(__file__).parents[2] / "export"


@pytest.fixture(scope="session")
def full_preset(qa, tmp_path_factory):
    """A preset with corpus and index, for reading only."""
    path = tmp_path_factory.mktemp("preset") / "preset"
    qa.save_to_preset(path, include_corpus=True)
    return path


@pytest.fixture(scope="session")
def script():
    """Runs a script of export/ and returns what it printed."""

    def run(name, *arguments):
        root = pathlib.Path(realm_tf.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / name), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run
