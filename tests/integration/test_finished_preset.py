"""The finished preset of the package, and the demo of the repository."""

import json
import pathlib

import click.testing
import pytest

from realm_tf.checkpoints.named_presets import PRESETS
from realm_tf.cli import main
from realm_tf.evaluation.exact_match import exact_match
from realm_tf.realm_qa import RealmQA

NAME = "realm_minilm_en"
DATA = pathlib.Path(__file__).parents[2] / "demo" / "data"
DOCUMENTS = [
    ("Emma", "Emma is a novel by Jane Austen. It came out in 1815."),
    ("Canberra", "Canberra is the capital city of Australia."),
    ("Cheetah", "The cheetah runs as fast as 112 to 120 km/h."),
]


def test_preset_is_small_enough_for_a_repository():
    sizes = [f.stat().st_size for f in PRESETS[NAME].path.rglob("*")]
    assert max(sizes) <= 25e6
    assert PRESETS[NAME].megabytes <= 40


def test_preset_answers_from_new_documents():
    qa = RealmQA.from_preset(NAME)
    assert qa.calibration.threshold > 0
    qa.build_index(DOCUMENTS)
    answers = qa.predict(
        ["Who wrote Emma?", "What is the capital of Australia?"]
    )
    assert [answer.text for answer in answers] == ["Jane Austen", "Canberra"]
    assert all(answer.found for answer in answers)


@pytest.mark.parametrize(
    "name", ["demo_questions.jsonl", "newcomer_questions.jsonl"]
)
def test_questions_of_the_demo_have_answers_or_none(name):
    lines = (DATA / name).read_text("utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len({q["question"] for q in questions}) == len(lines)
    assert any(not q["answers"] for q in questions) == name.startswith("demo")


def test_demo_answers_most_of_its_questions(monkeypatch, tmp_path):
    monkeypatch.setenv("REALM_TF_CACHE", str(tmp_path))
    done = click.testing.CliRunner().invoke(main, ["demo", "--json"])
    assert done.exit_code == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    lines = (DATA / "demo_questions.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    assert [a["question"] for a in answers] == [q["question"] for q in asked]
    right = [
        answer["found"] and exact_match(answer["answer"], question["answers"])
        for question, answer in zip(asked, answers, strict=True)
        if question["answers"]
    ]
    assert sum(right) >= 6
