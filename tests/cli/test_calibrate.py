import json

import pytest

from realm_tf.evaluation.calibration import Calibration
from realm_tf.realm_qa import RealmQA


@pytest.fixture(scope="module")
def calibrate(full_preset, questions_file, tmp_path_factory):
    none = tmp_path_factory.mktemp("none") / "none.jsonl"
    none.write_text('{"question": "Who wrote London?", "answers": []}\n')
    return (
        *("calibrate", "--preset", full_preset, "--num-read", 2),
        *("--questions", questions_file, "--questions", none),
    )


def test_calibrate_writes_a_preset_that_answers(calibrate, run, tmp_path):
    path = tmp_path / "calibrated"
    facts = json.loads(run(*calibrate, "-o", path, "--json").stdout)
    assert (facts["num_questions"], facts["num_unanswerable"]) == (6, 1)
    assert len(facts["reliability"]) == 15
    assert len(facts["risk_coverage"]) == 10
    for name in ("expected_calibration_error", "answerability_auroc"):
        assert 0 <= facts[f"{name}_before"] <= 1
        assert 0 <= facts[f"{name}_after"] <= 1
    qa = RealmQA.from_preset(path)
    assert qa.calibration == Calibration(
        facts["temperature"], facts["threshold"]
    )
    asked = run("ask", "--preset", path, "--json", "Who wrote Emma?")
    assert json.loads(asked.stdout)["threshold"] == facts["threshold"]


def test_calibrate_shows_tables_and_replaces_what_it_may(
    calibrate, corpus, fail, preset, run, tmp_path
):
    path = tmp_path / "preset"
    RealmQA.from_preset(preset).save_to_preset(path)
    command = [*calibrate, "--corpus", corpus, "-o", path]
    command[2] = path
    assert "Add --overwrite" in fail(*command, code=2)
    text = run(*command, "--overwrite").stdout
    assert "Reliability before and after" in text
    assert "if only the surest are given" in text
    # The corpus stays where it is.
    assert not (path / "corpus").exists()


def test_calibrate_takes_questions_with_answers(calibrate, fail, tmp_path):
    command = [*calibrate[:5], *calibrate[7:], "-o", tmp_path / "new"]
    assert "must have questions with answers" in fail(*command)
    assert not (tmp_path / "new").exists()
