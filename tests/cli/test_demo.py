import json

import pytest

import realm_tf
from realm_tf.cli import demo as demo_command
from realm_tf.cli.ask import Lines
from realm_tf.cli.ui import demo_corpus, demo_model
from realm_tf.data.corpus.answer import Answer
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.questions import Question
from realm_tf.realm_qa import RealmQA

pytestmark = pytest.mark.usefixtures("kept_models", "registry")

ASKED = [
    {"id": "1", "question": "Who wrote Emma?", "answers": ["Jane Austen"]},
    {"id": "2", "question": "Who won in 2034?", "answers": []},
]


@pytest.fixture
def demo(demo_data):
    """The command, with a preset of these tests."""
    lines = "".join(json.dumps(question) + "\n" for question in ASKED)
    (demo_data / "demo_questions.jsonl").write_text(lines)
    return ("demo", "--data", demo_data)


def test_demo_unpacks_once_and_marks_its_answers(demo, monkeypatch, run):
    monkeypatch.setattr(RealmQA, "build_index", None)  # nothing is embedded
    first = run(*demo)
    assert "once" in first.stderr
    assert 'realm-tf demo "your question"' in first.stderr
    rows = first.stdout.splitlines()[1:]
    for question, row in zip(ASKED, rows, strict=True):
        assert row.split()[0] in "✓✗"
        assert question["question"] in row
    monkeypatch.setattr(demo_corpus, "_unpack", None)
    second = run(*demo, "--json")
    answers = [json.loads(line) for line in second.stdout.splitlines()]
    assert [a["question"] for a in answers] == [q["question"] for q in ASKED]
    assert "once" not in second.stderr


@pytest.mark.parametrize(
    ("answers", "text", "found", "mark"),
    [
        (("Jane Austen",), "jane austen", True, "✓"),
        (("Jane Austen",), "Emma", True, "✗"),
        (("Jane Austen",), "Jane Austen", False, "✗"),
        ((), "Emma", True, "✗"),
        ((), "Emma", False, "✓"),
    ],
)
def test_an_answer_is_right_if_it_is_known_or_rightly_missing(
    answers, text, found, mark
):
    question = Question("1", "who?", answers)
    answer = Answer(
        text=text,
        block=Block("Emma, by Jane Austen", "Emma"),
        start=0,
        end=4,
        byte_start=0,
        byte_end=4,
        retrieval_probability=1.0,
        reading_probability=0.5,
        probability=0.5,
        threshold=0.2 if found else 0.8,
    )
    table = demo_command._table([question], [answer])
    assert [str(cell) for cell in table.columns[0].cells] == [mark]
    shown = [str(cell) for cell in table.columns[2].cells]
    assert shown == [text if found else "no answer"]


def test_demo_answers_the_question_it_is_given(demo, run):
    result = run(*demo, "Who wrote Emma?", "Which river?")
    assert "Who wrote Emma?" in result.stdout
    assert "Which river?" in result.stdout
    assert "your question" not in result.stderr


def test_demo_takes_questions_that_are_typed(demo, monkeypatch, run):
    monkeypatch.setattr(Lines, "are_typed", staticmethod(lambda: True))
    result = run(*demo, stdin="Where is London?\n")
    assert "Type a question" in result.stderr
    assert "Where is London?" in result.stdout


def test_demo_serves_a_page(demo, monkeypatch, run):
    served = []
    monkeypatch.setattr(
        demo_command.serve, "callback", lambda **given: served.append(given)
    )
    run(*demo, "--page")
    (given,) = served
    assert (given["bundle"] / "bundle.json").is_file()
    assert given["port"] == 8600


def test_demo_trains_once_and_answers_unseen_questions(
    demo_data, monkeypatch, run, tiny_bert
):
    demo = ("demo", "--train", "--data", demo_data, "--bert", tiny_bert)
    first = run(*demo, "--json")
    answers = [json.loads(line) for line in first.stdout.splitlines()]
    assert [a["question"] for a in answers] == ["Who lost at Waterloo?"]
    assert "some minutes, once" in first.stderr
    monkeypatch.setattr(demo_model, "_train", None)
    monkeypatch.setattr(RealmQA, "build_index", None)
    second = run(*demo, "--json")
    assert second.stdout == first.stdout
    assert "once" not in second.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bert", "."), "--bert goes with --train"),
        (("--page", "--train"), "--page goes without --train"),
        (("--page", "Who?"), "--page goes without --train and questions"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, fail):
    assert message in fail("demo", *options, code=2)


def test_demo_without_the_repository_says_where_the_data_are(
    fail, monkeypatch, tmp_path
):
    package = tmp_path / "site-packages" / "realm_tf" / "__init__.py"
    monkeypatch.setattr(realm_tf, "__file__", str(package))
    message = fail("demo")
    assert "in the repository, not in the package" in message
    assert "--data" in message


def test_demo_names_what_its_data_lack(fail, tmp_path):
    message = fail("demo", "--data", tmp_path)
    assert "No such file or directory" in message
    assert "demo_questions.jsonl" in message
