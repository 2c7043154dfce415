import json
import re
import subprocess
import sys

import pytest

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.evaluation.trec_run import read_run

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
    # Matches everything; ".*" is no text, as a prediction may be.
    file.write_text('{"question": "Who?", "answers": ["\\\\W*"]}\n{}\n')
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


# Retrieval alone, and runs.


@pytest.fixture
def beir(tmp_path):
    """Two of the articles are judged, one of them twice as relevant."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    queries = [
        {"_id": "a", "text": "Who wrote Emma?"},
        {"_id": "b", "text": "river in England"},
    ]
    lines = "".join(json.dumps(query) + "\n" for query in queries)
    (folder / "queries.jsonl").write_text(lines)
    (folder / "qrels/test.tsv").write_text(
        "query-id\tcorpus-id\tscore\na\temma\t1\nb\tthames\t2\nb\tlondon\t1\n"
    )
    return folder


def test_retrieval_alone_is_scored_and_written(
    beir, full_preset, run, tmp_path
):
    out = tmp_path / "new"
    text = run(
        *("evaluate", "--preset", full_preset, "--retrieval-only"),
        *("--questions", beir, "--split", "test", "--depth", 10),
        *("--json", out / "report.json", "--html", out / "report.html"),
        *("--run", out / "run.trec"),
    ).stdout
    assert "nDCG@10" in text and "analyzer" in text
    report = json.loads((out / "report.json").read_text())
    assert (report["depth"], report["num_questions"]) == (10, 2)
    assert list(report["rankings"]) == ["embeddings", "words"]
    # Words find "emma" for a, "thames" and then "london" for b.
    words = report["rankings"]["words"]
    assert words["ndcg_at_10"] == words["mean_average_precision"] == 1
    assert words["recall_at_1"] == (1 + 1 / 2) / 2
    assert list(read_run(out / "run.words.trec")) == ["a", "b"]
    lines = (out / "report.questions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b"]
    assert "<svg" in (out / "report.html").read_text()
    assert len(list(out.iterdir())) == 5


def test_a_run_scores_as_the_search_that_wrote_it(
    beir, fail, full_preset, run, tmp_path
):
    qrels, file = tmp_path / "qrels.txt", tmp_path / "run.trec"
    qrels.write_text("a 0 emma 1\nb 0 thames 2\nb 0 london 1\nz 0 emma 1\n")
    searched, scored = tmp_path / "searched.json", tmp_path / "scored.json"
    found = run(
        *("evaluate", "--preset", full_preset, "--retrieval-only"),
        *("--questions", beir, "--qrels", qrels, "--features", "embeddings"),
        *("--run", file, "--json", searched),
    )
    assert "judgements of 1 queries that are not" in found.stderr
    run("evaluate", "--from-run", file, "--questions", beir, "--json", scored)
    first, second = (
        json.loads(path.read_text())["rankings"] for path in (searched, scored)
    )
    assert first["embeddings"] == second["run.trec"]
    command = ("evaluate", "--from-run", file, "--from-run", file)
    done = run(*command, "--qrels", qrels)
    assert "1 of 3 judged queries have no document" in done.stderr


def test_runs_are_scored_without_tensorflow(beir, tmp_path):
    file = tmp_path / "run.trec"
    file.write_text("a Q0 emma 1 1.0 x\nb Q0 london 1 1.0 x\n")
    qrels = beir / "qrels/test.tsv"
    code = (
        "import sys; sys.modules['tensorflow'] = None; "
        "from realm_tf.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "--from-run", file]
        + ["--qrels", qrels],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"run.trec +0\.\d+ +0\.750 +1\.000", done.stdout)


def test_the_missing_library_is_named(beir, fail, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    file = tmp_path / "run.trec"
    file.write_text("a Q0 emma 1 1.0 x\n")
    command = ("evaluate", "--from-run", file, "--questions", beir)
    assert "pip install 'realm-tf[eval]'" in fail(*command, code=2)


def test_answers_have_a_page_with_plots(evaluate, run, tmp_path):
    path = tmp_path / "new" / "report.html"
    run(*evaluate, "--html", path)
    assert path.read_text().count("<svg") == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--questions {beir}", "--preset or --from-run must be given"),
        ("--preset {beir}", "--questions must be given"),
        ("--from-run {file}", "needs either --qrels or --questions"),
        (
            "--from-run {file} --qrels {file} --questions {beir}",
            "needs either --qrels or --questions",
        ),
        (
            "--from-run {file} --qrels {file} --preset {beir}",
            "goes without --preset",
        ),
        (
            "--preset {beir} --questions {beir} --run new",
            "go with --retrieval-only",
        ),
        (
            "--preset {beir} --questions {beir} --qrels {file}",
            "go with --retrieval-only",
        ),
        (
            "--preset {beir} --questions {beir} --retrieval-only --num-read 1",
            "--num-read goes without",
        ),
        (
            "--preset {beir} --questions {beir} --retrieval-only "
            "--qrels {file} --split test",
            "--split goes without --qrels",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    beir, fail, message, options
):
    places = {"beir": beir, "file": beir / "qrels/test.tsv"}
    given = [word.format(**places) for word in options.split()]
    assert message in fail("evaluate", *given, code=2)
