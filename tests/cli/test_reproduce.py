import importlib.util
import json
import pathlib

import numpy as np
import pytest

from realm_tf.cli.reproduce import PUBLISHED

_PATH = pathlib.Path(__file__).parents[1] / "fixtures/miniature_release.py"


@pytest.fixture(scope="module")
def miniature(tmp_path_factory, run):
    """A miniature of the released model, imported, and test questions."""
    spec = importlib.util.spec_from_file_location("miniature_release", _PATH)
    release = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(release)
    folder = tmp_path_factory.mktemp("release")
    rows = np.random.default_rng(0).normal(size=(len(release.BLOCKS), 6))
    source = release.write_hugging_face(
        folder / "openqa", "openqa", "zip", rows.astype(np.float32)
    )
    release.write_block_records(source / "block_records.npy")
    preset, corpus = folder / "preset", folder / "corpus"
    run("import", source, "-o", preset, "--corpus-output", corpus)
    questions = folder / "NQ-open.dev.jsonl"
    questions.write_text(
        "".join(
            json.dumps({"question": f"where is {name}", "answer": [country]})
            + "\n"
            for name, country, _ in release.CITIES * 3
        )
    )
    return (
        ["--checkpoint", preset, "--corpus", corpus, "--questions", questions],
        18,
    )


@pytest.mark.parametrize("text", ["official", "slice"])
def test_the_published_evaluation_runs_end_to_end(
    miniature, tmp_path, run, text
):
    arguments, count = miniature
    out = tmp_path / "out.jsonl"
    result = run(
        "reproduce", "nq", *arguments, "-o", out, "--text", text, "--json"
    )
    facts = result.json
    assert "Needs 0.00 GiB of memory" in result.stderr
    assert facts["num_questions"] == count
    assert facts["published"] == PUBLISHED["nq"]
    assert not facts["is_whole_test_set"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == count + 1
    assert facts["num_right"] == sum(x["exact_match"] for x in lines[1:])


def test_a_stopped_run_goes_on(miniature, tmp_path, run):
    arguments, count = miniature
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    run("reproduce", "nq", *arguments, "-o", whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:8]) + lines[8][:20])
    run("reproduce", "nq", *arguments, "-o", part)
    head, *answers = map(json.loads, part.read_text().splitlines())
    want_head, *want = map(json.loads, whole.read_text().splitlines())
    assert head == want_head and len(answers) == count
    for answer in want:  # was read in another batch
        answer["probability"] = pytest.approx(answer["probability"], abs=1e-5)
    assert answers == want


def test_another_run_is_not_continued(miniature, tmp_path, run, fail):
    arguments, _ = miniature
    out = tmp_path / "out.jsonl"
    run("reproduce", "nq", *arguments, "-o", out)
    message = fail("reproduce", "wq", *arguments, "-o", out)
    assert "must be of the run that is resumed" in message
    head, *rest = out.read_text().splitlines(keepends=True)
    settings = json.loads(head)["settings"]
    for name in ("query_embedder", "reader", "questions"):
        other = {"settings": settings | {name: "0" * 64}}
        out.write_text("".join([json.dumps(other) + "\n", *rest]))
        message = fail("reproduce", "nq", *arguments, "-o", out)
        assert "must be of the run that is resumed" in message
