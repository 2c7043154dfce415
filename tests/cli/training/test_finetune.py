import json

import pytest

from realm_tf.realm_qa import RealmQA

# Batches as small as the data.
QUICK = ("--retriever-batch-size", 2, "--batch-size", 2, "--num-retrieved", 4)


@pytest.fixture
def train(corpus, questions_file, tmp_path):
    return (
        *("finetune", "--corpus", corpus, "--train", questions_file),
        *("--split", "train", "--output", tmp_path / "preset", *QUICK),
    )


def test_finetune_from_a_bert_makes_a_preset_that_answers(
    questions_file, run, tiny_bert, tmp_path, train
):
    dev = ("--dev", questions_file, "--dev-split", "dev")
    bert = ("--bert", tiny_bert, "--embedding-dim", 4)
    report = run(*train, *bert, *dev, "--json").json
    assert report["num_questions"] == 3
    assert report["includes_corpus"] is True
    assert report["dev_num_questions"] == 1
    assert 0 <= report["dev_exact_match"] <= 1
    assert report["retriever"]["loss"] > 0 and report["reader"]["loss"] > 0
    assert set(report["seconds"]) >= {"retriever", "index", "reader"}
    answer = run("ask", "--preset", tmp_path / "preset", "Who?", "--json").json
    assert len(answer["blocks"]) == 4
    assert RealmQA.from_preset(tmp_path / "preset").block_embedder is not None


def test_finetune_goes_on_from_a_preset_and_repeats(
    preset, run, tmp_path, train
):
    options = ("--preset", preset, "--retriever-epochs", 0, "--dropout", 0)
    options = (*options, "--dtype", "float32", "--json")
    first = run(*train, *options).json
    again = run(*train, *options, "--overwrite").json
    assert first["reader"] == again["reader"]
    assert "retriever" not in first
    slower = run(
        *train, *options, "--overwrite", "--learning-rate", 1e-9, "--epochs", 2
    ).json
    assert slower["reader"] != first["reader"]


def test_finetune_leaves_the_corpus_out_if_told(
    corpus, monkeypatch, preset, run, tmp_path, train
):
    output = tmp_path / "preset"
    run(*train, "--preset", preset, "--no-include-corpus", "--quiet")
    assert not (output / "corpus").exists()
    # The index is there: it is not built again.
    monkeypatch.setattr(RealmQA, "build_index", None)
    run("ask", "--preset", output, "--corpus", corpus, "Who?")


def test_finetune_checks_its_output_before_it_trains(
    fail, monkeypatch, preset, tmp_path, train
):
    monkeypatch.setattr(RealmQA, "fit", None)
    command = (*train, "--preset", preset)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "letter.txt").write_text("mine")
    assert "Add --overwrite" in fail(*command, code=2)
    message = fail(*command, "--overwrite")
    assert "The preset must be a folder with a manifest.json" in message
    message = fail(*command, "-o", "/dev/null/preset")
    assert "Not a directory" in message or "File exists" in message


@pytest.mark.parametrize("both", [True, False])
def test_finetune_needs_one_start(both, fail, preset, tiny_bert, train):
    given = ("--bert", tiny_bert, "--preset", preset) if both else ()
    message = fail(*train, *given, code=2)
    assert "Give either --bert or --preset" in message


def test_finetune_cannot_change_the_width_of_a_preset(fail, preset, train):
    message = fail(*train, "--preset", preset, "--embedding-dim", 8, code=2)
    assert "--embedding-dim goes with --bert" in message


def test_finetune_refuses_options_out_of_range(fail, preset, train):
    message = fail(*train, "--preset", preset, "--learning-rate", -1)
    assert "`learning_rate` must be a positive number" in message


def test_finetune_refuses_questions_about_something_else(
    corpus, fail, preset, tmp_path, train
):
    file = tmp_path / "qa.jsonl"
    file.write_text('{"question": "Who?", "answers": ["Zanzibar"]}\n')
    command = ("finetune", "--corpus", corpus, "--train", file)
    command = (*command, "--preset", preset, "-o", tmp_path / "p", *QUICK)
    message = fail(*command)
    assert "Received" in message
    assert not (tmp_path / "p").exists()


def test_finetune_names_a_bad_record_unless_skipped(
    corpus, fail, preset, questions_file, run, tmp_path
):
    file = tmp_path / "qa.jsonl"
    file.write_text("{\n" + questions_file.read_text())
    command = ("finetune", "--corpus", corpus, "--train", file)
    command = (*command, "--preset", preset, "-o", tmp_path / "p", *QUICK)
    assert "qa.jsonl, line 1" in fail(*command)
    result = run(*command, "--skip-bad", "--json")
    assert json.loads(result.stdout)["num_questions"] == 5


def test_finetune_leaves_nothing_if_it_is_stopped(
    fail, monkeypatch, preset, tmp_path, train
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RealmQA, "fit_projection", stop)
    message = fail(*train, "--preset", preset, code=130)
    assert message == "Interrupted.\n"
    assert not list(tmp_path.iterdir())
