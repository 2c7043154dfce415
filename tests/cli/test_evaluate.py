import json

import pytest

from realm_tf.data.corpus.corpus import Corpus

pytestmark = pytest.mark.usefixtures("kept_models")


@pytest.fixture
def evaluate(full_preset, questions_file):
    return (
        *("evaluate", "--preset", full_preset),
        *("--questions", questions_file),
    )


def test_evaluate_writes_the_report_and_its_questions(
    corpus, evaluate, full_preset, run, tmp_path
):
    path = tmp_path / "new" / "report.json"
    text = run(*evaluate, "--corpus", corpus, "--json", path).stdout
    report = json.loads(path.read_text())
    assert report["num_questions"] == 5
    for name in ("exact_match", "f1", "answer_recall_at_1"):
        assert 0 <= report[name] <= 1
        assert name.replace("_", " ") in text
    assert report["num_blocks"] == 4
    assert report["corpus"] == Corpus.open(corpus).fingerprint
    assert report["preset"] == str(full_preset)
    lines = (tmp_path / "new" / "report.questions.jsonl").read_text()
    scores = [json.loads(line) for line in lines.splitlines()]
    assert [score["id"] for score in scores] == ["q0", "q1", "q2", "q3", "q4"]
    assert {"prediction", "exact_match", "f1", "answer_rank"} <= set(scores[0])
    matches = sum(score["exact_match"] for score in scores)
    assert report["exact_match"] == matches / 5
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"report.json", "report.questions.jsonl"}


def test_evaluate_is_repeatable(evaluate, run, tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        run(*evaluate, "--json", file, "--dtype", "float32")
    first, second = (
        file.with_suffix(".questions.jsonl").read_text() for file in files
    )
    assert first == second


def test_evaluate_filters_by_split(evaluate, run, tmp_path):
    path = tmp_path / "report.json"
    run(*evaluate, "--split", "train", "--json", path)
    assert json.loads(path.read_text())["num_questions"] == 3


def test_evaluate_refuses_an_unknown_split(evaluate, fail):
    assert "the files have ['dev', 'test'" in fail(*evaluate, "--split", "x")


def test_evaluate_reads_as_many_blocks_as_told(evaluate, run, tmp_path):
    path = tmp_path / "report.json"
    run(*evaluate, "--num-read", 1, "--json", path)
    report = json.loads(path.read_text())
    assert report["num_read"] == 1
    # Recall looks further than the reader.
    assert {"answer_recall_at_1", "block_recall_at_1"} <= set(report)


def test_evaluate_matches_regular_expressions_if_told(
    fail, full_preset, run, tmp_path
):
    file = tmp_path / "qa.jsonl"
    file.write_text('{"question": "Who?", "answers": [".*"]}\n{}\n')
    command = ("evaluate", "--preset", full_preset, "--questions", file)
    path = tmp_path / "report.json"
    command = (*command, "--json", path)
    assert "qa.jsonl, line 2" in fail(*command)
    assert not path.exists()
    run(*command, "--skip-bad")
    assert json.loads(path.read_text())["exact_match"] == 0
    run(*command, "--skip-bad", "--regex")
    assert json.loads(path.read_text())["exact_match"] == 1


def test_evaluate_keeps_the_old_report_if_it_fails(
    evaluate, fail, monkeypatch, tmp_path
):
    path = tmp_path / "report.json"
    path.write_text("old")

    def write_scores(self, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "realm_tf.evaluation.report.Report.write_scores", write_scores
    )
    message = fail(*evaluate, "--json", path)
    assert "No space left on device" in message
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "old"


def test_evaluate_refuses_a_question_file_that_is_none(fail, full_preset):
    command = ("evaluate", "--preset", full_preset, "--questions", "nowhere")
    assert "'nowhere' does not exist" in fail(*command, code=2)
