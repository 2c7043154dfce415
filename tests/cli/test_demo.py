import gzip
import json

import pytest

import realm_tf
from realm_tf.cli.ui import demo_model
from realm_tf.realm_qa import RealmQA

pytestmark = pytest.mark.usefixtures("kept_models")


@pytest.fixture
def demo(articles_file, monkeypatch, questions_file, tiny_bert, tmp_path):
    """The command, with the data of these tests and a cache of its own."""
    data = tmp_path / "data"
    data.mkdir()
    for name, file in (
        ("passages.jsonl.gz", articles_file),
        ("questions.jsonl.gz", questions_file),
    ):
        (data / name).write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setenv("REALM_TF_CACHE", str(tmp_path / "cache"))
    return ("demo", "--data", data, "--bert", tiny_bert)


def test_demo_trains_once_and_answers_unseen_questions(demo, monkeypatch, run):
    first = run(*demo, "--json")
    answers = [json.loads(line) for line in first.stdout.splitlines()]
    assert [a["question"] for a in answers] == ["Who lost at Waterloo?"]
    assert "some minutes, once" in first.stderr
    assert "The 1 surest answers to 1 questions" in first.stderr
    assert 'realm-tf demo "your question"' in first.stderr
    monkeypatch.setattr(demo_model, "_train", None)
    monkeypatch.setattr(RealmQA, "build_index", None)
    second = run(*demo, "--json")
    assert second.stdout == first.stdout
    assert "once" not in second.stderr


def test_demo_answers_the_question_it_is_given(demo, run):
    result = run(*demo, "Who wrote Emma?", "Which river?")
    assert "Who wrote Emma?" in result.stdout
    assert "Which river?" in result.stdout
    assert "your question" not in result.stderr


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
    assert "questions.jsonl.gz" in message
