import json
import os
import pathlib
import subprocess
import sys

import pytest

from realm_tf.serving.bundle import BLOCK_EMBEDDER, QA, QUERY_EMBEDDER, READER

FRESH = pathlib.Path(__file__).with_name("fresh_process.py")


@pytest.fixture(scope="session")
def qa(make_qa, city_corpus, tmp_path_factory):
    """A model with the index of the cities, for reading only."""
    qa = make_qa(separate=True)
    qa.build_index(city_corpus, tmp_path_factory.mktemp("qa") / "index")
    return qa


@pytest.fixture(scope="session")
def questions(cities):
    names = [article.title for article in cities]
    return [f"When was the school of {name} founded?" for name in names] + [
        "Where is Österreich?",
        "Who?",
        "in which country is " + "Vienna " * 20 + "?",
    ]


@pytest.fixture(scope="session")
def exported(qa, tmp_path_factory):
    """All models that need nothing but TensorFlow, for reading only."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    models = (QUERY_EMBEDDER, BLOCK_EMBEDDER, READER, QA)
    return qa.export(folder, models=models)


@pytest.fixture(scope="session")
def fresh():
    """Runs requests in a process with TensorFlow and TensorFlow Text only."""
    process = subprocess.Popen(
        [sys.executable, str(FRESH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )

    def run(*requests):
        process.stdin.write(json.dumps(requests) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the process ended with {process.wait()}"
        return json.loads(line)

    with process:
        yield run
        process.stdin.close()
