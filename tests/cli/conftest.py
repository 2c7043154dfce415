import gzip
import json
import os
import pathlib
import subprocess
import sys

import click.testing
import numpy as np
import pytest

from realm_tf.checkpoints import named_presets
from realm_tf.cli import main
from realm_tf.cli.ui import demo_corpus
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.realm_qa import RealmQA

ARTICLES = [
    ("emma", "Emma", "Emma is a novel by Jane Austen. It came out in 1815."),
    ("london", "London", "London is the capital of England."),
    ("thames", "Thames", "The Thames is a river in the south of England."),
    ("1815", "1815", "1815 was a year of war. Napoleon lost at Waterloo."),
]
QUESTIONS = [
    ("Who wrote Emma?", "Jane Austen", "emma", "train"),
    ("When did Emma come out?", "1815", "emma", "train"),
    ("What is the capital of England?", "London", "london", "train"),
    ("Which river is in the south?", "Thames", "thames", "dev"),
    ("Who lost at Waterloo?", "Napoleon", "1815", "test"),
]


def write_jsonl(path, records):
    lines = [json.dumps(record) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def articles_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("articles") / "articles.jsonl"
    return write_jsonl(
        path,
        [
            {"id": i, "title": title, "text": text}
            for i, title, text in ARTICLES
        ],
    )


@pytest.fixture(scope="session")
def questions_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    return write_jsonl(
        path,
        [
            {
                "id": f"q{i}",
                "question": question,
                "answers": [answer],
                "passage_id": passage,
                "split": split,
            }
            for i, (question, answer, passage, split) in enumerate(QUESTIONS)
        ],
    )


class Result:
    """What a command printed, and how it ended."""

    def __init__(self, exit_code, stdout, stderr):
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self):
        return json.loads(self.stdout)


def call(*args, stdin=None):
    """Runs a command in this process."""
    result = click.testing.CliRunner().invoke(
        main, [str(arg) for arg in args], input=stdin
    )
    return Result(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def run():
    """Runs a command in this process; it must succeed."""

    def run_well(*args, stdin=None):
        result = call(*args, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        return result

    return run_well


@pytest.fixture(scope="session")
def fail():
    """Runs a command in this process; it must fail as it should."""

    def run_badly(*args, code=1, stdin=None):
        result = call(*args, stdin=stdin)
        assert result.exit_code == code, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result.stderr

    return run_badly


@pytest.fixture(scope="session")
def spawn():
    """Runs a command in a process of its own."""

    def start(*args, stdin=None, python=(), **environment):
        env = {**os.environ, **environment}
        env = {name: value for name, value in env.items() if value is not None}
        code = "import sys; from realm_tf.cli import main; main()"
        done = subprocess.run(
            [sys.executable, *python, "-c", code, *map(str, args)],
            input=stdin,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return start


@pytest.fixture(scope="session")
def corpus(articles_file, run, tiny_bert, tmp_path_factory) -> pathlib.Path:
    """A corpus folder, for reading only."""
    path = tmp_path_factory.mktemp("corpus") / "corpus"
    run("corpus", "build", articles_file, "-o", path, "--tokenizer", tiny_bert)
    return path


@pytest.fixture(scope="session")
def preset(tiny_bert, corpus, tmp_path_factory) -> pathlib.Path:
    """A model without a corpus, for reading only."""
    path = tmp_path_factory.mktemp("preset") / "preset"
    RealmQA.from_preset(tiny_bert, embedding_dim=4).save_to_preset(path)
    return path


@pytest.fixture(scope="module")
def kept_models():
    """Commands that leave models as they are open each folder only once.

    Loading a model and tracing it takes longer than all else they do.
    """
    load, kept = RealmQA.from_preset, {}

    def from_preset(path, **options):
        key = (path, *sorted(options.items()))
        if key not in kept:
            qa = load(path, **options)
            kept[key] = (qa, qa.index)
        qa, index = kept[key]
        qa.index = index
        return qa

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RealmQA, "from_preset", from_preset)
        yield


@pytest.fixture(scope="session")
def full_preset(preset, corpus, tmp_path_factory) -> pathlib.Path:
    """`preset` with corpus and index inside, for reading only."""
    folder = tmp_path_factory.mktemp("full_preset")
    qa = RealmQA.from_preset(preset)
    qa.build_index(Corpus.open(corpus), folder / "index")
    qa.save_to_preset(folder / "preset", include_corpus=True)
    return folder / "preset"


@pytest.fixture
def demo_data(
    articles_file, monkeypatch, preset, questions_file, registry, tmp_path
):
    """The files of a demo of the preset "tiny", and a cache of its own."""
    named_presets.register_preset("tiny", "", preset)
    monkeypatch.setattr(demo_corpus, "PRESET", "tiny")
    monkeypatch.setenv("REALM_TF_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    articles = articles_file.read_text().splitlines(keepends=True)
    for name, text in (
        ("passages", "".join(articles[:2])),
        ("articles", "".join(articles[2:])),
        ("questions", questions_file.read_text()),
    ):
        packed = gzip.compress(text.encode())
        (data / f"{name}.jsonl.gz").write_bytes(packed)
    index = RealmQA.from_preset(preset).build_index(articles_file)
    embeddings = index.embeddings(np.arange(index.num_blocks))
    scales = np.abs(embeddings).max(axis=1) / 127
    np.savez_compressed(
        data / "embeddings.npz",
        rows=np.round(embeddings / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        embedder=np.array(index.embedder_fingerprint),
        corpus=np.array(index.corpus.fingerprint),
    )
    return data
