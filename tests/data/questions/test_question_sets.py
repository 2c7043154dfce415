import collections
import gzip
import json
import pathlib

import pytest

from realm_tf.data.questions import question_sets
from realm_tf.data.questions.question_sets import (
    PUBLISHED_SIZES,
    official_splits,
    published_matches,
    read_question_set,
    resplit,
    write_questions,
)
from realm_tf.data.questions.questions import Question, read_questions
from realm_tf.errors import BadRecordError

GOLDEN = pathlib.Path(__file__).parents[2] / "fixtures/golden"
GOLDEN_SPLITS = json.loads(
    (GOLDEN / "official_evaluation.json").read_text("utf-8")
)["resplit"]


def test_splits_are_those_of_the_official_code():
    splits = official_splits(case["question"] for case in GOLDEN_SPLITS)
    assert splits == [case["split"] for case in GOLDEN_SPLITS]
    assert {"train", "dev"} == set(splits)


def test_resplit_keeps_everything_else():
    question = Question("1", "where was victor hugo born", ("Besançon",))
    [split] = resplit([question])
    assert (split.question_id, split.answers) == ("1", ("Besançon",))
    assert split.split == "train"


def test_json_lines_are_read(tmp_path):
    path = tmp_path / "NQ-open.train.jsonl"
    path.write_text('{"question": "q", "answer": ["a"]}\n' * 2)
    found = read_question_set(path)
    assert [(q.question, q.answers, q.regex) for q in found] == [
        ("q", ("a",), False)
    ] * 2


def test_one_line_is_json_lines_too(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q", "answer": ["a"]}')
    assert len(read_question_set(path)) == 1


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_set_on_one_line_is_no_json_lines(tmp_path, end):
    path = tmp_path / "squad.json"
    qas = [{"id": "1", "question": "q?", "answers": [{"text": "a"}]}]
    content = {"data": [{"paragraphs": [{"qas": qas}]}]}
    path.write_text(json.dumps(content) + end)
    assert read_question_set(path)[0].question == "q?"


def test_a_question_may_have_data_of_its_own(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q", "answer": ["a"], "data": []}\n')
    assert read_question_set(path)[0].question == "q"


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ('(list (description "Lost (TV series)"))', ("Lost (TV series)",)),
        (
            '(list (description "The \\"X\\"") (description Y))',
            ('The "X"', "Y"),
        ),
        ("(list (description Jaxon) (description J. B.))", ("Jaxon", "J. B.")),
    ],
)
def test_answers_of_web_questions_may_hold_brackets(tmp_path, target, answers):
    path = tmp_path / "webquestions.json"
    path.write_text(json.dumps([{"targetValue": target, "utterance": "who?"}]))
    assert read_question_set(path)[0].answers == answers


def test_published_sizes_are_recognised():
    train, dev, test = PUBLISHED_SIZES["NaturalQuestions"]
    assert published_matches({"train": train, "dev": 1, "test": test}) == [
        "NaturalQuestions train",
        "NaturalQuestions test",
    ]
    whole = published_matches({"None": train + dev})
    assert whole == ["NaturalQuestions train+dev"]
    assert published_matches({"test": dev, "None": 5}) == []


def test_answers_of_curatedtrec_are_regular_expressions(tmp_path):
    path = tmp_path / "CuratedTrec-test.txt"
    path.write_text('{"question": "q", "answer": ["a|b"]}\n')
    assert read_question_set(path)[0].regex


def test_web_questions_are_read(tmp_path):
    path = tmp_path / "webquestions.json.gz"
    target = '(list (description "Jazmyn Bieber") (description Jaxon))'
    records = [{"url": "", "targetValue": target, "utterance": "who?"}]
    path.write_bytes(gzip.compress(json.dumps(records, indent=1).encode()))
    [question] = read_question_set(path)
    assert question.answers == ("Jazmyn Bieber", "Jaxon")


def test_trivia_qa_is_read(tmp_path):
    path = tmp_path / "unfiltered-web-dev.json"
    answer = {"Value": "Sunset", "Aliases": ["Sunset", "West Sunset"]}
    record = {"QuestionId": "tc_1", "Question": "q?", "Answer": answer}
    path.write_text(json.dumps({"Data": [record]}, indent=1))
    [question] = read_question_set(path)
    assert question.question_id == "tc_1"
    assert question.answers == ("Sunset", "West Sunset")


def test_trivia_qa_without_answers_is_told(tmp_path):
    path = tmp_path / "unfiltered-web-test.json"
    record = {"QuestionId": "tc_1", "Question": "q?"}
    path.write_text(json.dumps({"Data": [record]}))
    with pytest.raises(ValueError, match="with none, as in the test set of Tr"):
        read_question_set(path)


def test_questions_without_answers_are_counted(tmp_path, caplog):
    records = [{"QuestionId": str(i), "Question": "q?"} for i in range(3)]
    records[0]["Answer"] = {"Value": "a"}
    path = tmp_path / "trivia.json"
    path.write_text(json.dumps({"Data": records}))
    left_out = collections.Counter()
    assert len(read_question_set(path, left_out)) == 1
    assert left_out == {"questions without answers": 2}
    assert f"Left out 2 questions without answers. File: {path}" in caplog.text


@pytest.mark.parametrize("indent", [None, 4])
def test_arrays_of_questions_are_read(tmp_path, indent):
    path = tmp_path / "biencoder-nq-dev.json"
    records = [
        {
            "question": f"q{i}",
            "answers": ["a"],
            "positive_ctxs": [{"psg_id": i}],
        }
        for i in range(2)
    ]
    path.write_text(json.dumps(records, indent=indent))
    found = read_question_set(path)
    assert [(q.question_id, q.question, q.passage_ids) for q in found] == [
        ("biencoder-nq-dev.json:1", "q0", ("0",)),
        ("biencoder-nq-dev.json:2", "q1", ("1",)),
    ]


def test_bad_record_of_an_array_is_named_by_its_line(tmp_path):
    path = tmp_path / "hotpot.json"
    path.write_text('[{"question": "q", "answers": ["a"]},\n{"question": 1}]')
    with pytest.raises(BadRecordError, match="hotpot.json, line 2"):
        read_question_set(path)


def test_json_beyond_the_limit_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(question_sets, "_MAX_JSON_BYTES", 5)
    path = tmp_path / "biencoder-nq-train.json"
    path.write_text(json.dumps([{"question": "q", "answers": ["a"]}] * 200))
    with pytest.raises(ValueError, match="must not be longer than 5 bytes"):
        read_question_set(path)


def test_answers_of_curatedtrec_in_a_table_are_regular_expressions(tmp_path):
    path = tmp_path / "curatedtrec-test.csv"
    path.write_text("q\t['a|b']\n")
    assert read_question_set(path)[0].regex


def test_squad_of_datasets_is_read(tmp_path):
    path = tmp_path / "squad.jsonl"
    answers = {"text": ["1815", "1815"], "answer_start": [3, 3]}
    record = {"id": 7, "question": "When?", "answers": answers}
    path.write_text(json.dumps(record) + "\n")
    [question] = read_question_set(path)
    assert (question.question_id, question.answers) == ("7", ("1815",))


def test_squad_is_read(tmp_path):
    path = tmp_path / "dev-v1.1.json"
    answers = [{"text": "1815", "answer_start": 3}] * 2
    qas = [
        {"id": "a", "question": "When?", "answers": answers},
        {"id": "b", "question": "Impossible?", "answers": []},
    ]
    paragraphs = [{"context": "In 1815", "qas": qas}]
    path.write_text(
        json.dumps({"data": [{"title": "x", "paragraphs": paragraphs}]})
    )
    question, impossible = read_question_set(path)
    assert (question.question_id, question.answers) == ("a", ("1815",))
    assert impossible.question_id == "b"
    assert impossible.is_unanswerable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Data": [5]}, "must have the fields of"),
        ([], "with none"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_question_set(path)


def test_what_is_written_is_read_again(tmp_path):
    questions = [
        Question("1", "q", ("a",)),
        Question("2", "é?", ("b", "c"), "p", (3, 4), "dev", True),
    ]
    path = tmp_path / "q.jsonl"
    assert write_questions(questions, path) == 2
    assert read_questions(path) == questions
