import gzip

import pytest

from realm_tf.data.questions.qrels import (
    judged_questions,
    qrels_of,
    read_qrels,
)
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

QUESTIONS = [
    Question("q1", "one", ("1",), passage_id="old", answer_starts=(0,)),
    Question("q2", "two", ()),
    Question("q3", "three", ()),
]


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 d1 2\nq1 0 d2 0\n\nq2 Q0 d1 1\n",
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1.0\n",
        "q1\t0\td1\t2\r\nq1\t0\td2\t0\r\nq2\t0\td1\t1\r\n",
    ],
)
def test_judgements_of_trec_and_beir_are_read(text, tmp_path):
    expected = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}
    path = tmp_path / "qrels"
    path.write_text(text)
    assert read_qrels(path) == expected
    path.write_bytes(gzip.compress(text.encode()))
    assert read_qrels(path) == expected


@pytest.mark.parametrize(
    "line", ["q1 d1", "q1 0 d1 high", "q1 0 d1 0.5", "q1 0 d1 inf"]
)
def test_lines_that_are_no_judgement_are_named(line, tmp_path):
    path = tmp_path / "qrels"
    path.write_text(f"q1 0 d1 1\n{line}\n")
    with pytest.raises(BadRecordError, match="A judgement must be.*line 2"):
        read_qrels(path)


def test_questions_get_the_passages_of_judgements(caplog):
    qrels = {"q1": {"a": 2, "b": 0, "c": 1}, "q2": {"a": 0}, "q3": {"a": 1}}
    found = judged_questions(QUESTIONS, qrels)
    assert [question.question_id for question in found] == ["q1", "q3"]
    assert found[0].judgements == {"a": 2, "c": 1}
    assert found[0].relevances == (2, 1)
    assert found[0].answers == ("1",)
    assert found[1].relevances == ()
    assert not caplog.text


def test_judged_queries_without_a_question_are_counted(caplog):
    qrels = {"q1": {"a": 1}, "q8": {"a": 1}, "q9": {"a": 1}}
    assert len(judged_questions(QUESTIONS, qrels)) == 1
    assert "judgements of 2 queries that are not" in caplog.text
    assert "the first q8." in caplog.text


def test_judgements_of_other_questions_are_refused():
    with pytest.raises(ValueError, match="must judge some of the questions"):
        judged_questions(QUESTIONS, {"x": {"a": 1}})


def test_known_passages_are_judgements():
    two = Question("q2", "two", (), passage_ids=("a",), relevances=(3,))
    expected = {"q1": {"old": 1}, "q2": {"a": 3}}
    assert qrels_of([QUESTIONS[0], two, QUESTIONS[2]]) == expected


def test_questions_without_passages_are_refused():
    with pytest.raises(ValueError, match="Received: 2 questions without"):
        qrels_of(QUESTIONS[1:])


def test_judged_questions_need_an_id_each():
    with pytest.raises(ValueError, match="Received: 'q1' 2 times"):
        qrels_of([QUESTIONS[0], QUESTIONS[0]])
