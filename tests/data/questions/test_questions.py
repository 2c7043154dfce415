import gzip
import json
import logging

import pytest

from realm_tf.data.questions.question_sets import write_questions
from realm_tf.data.questions.questions import Question, read_questions
from realm_tf.errors import BadRecordError

FULL = {
    "id": "q1",
    "question": "Who wrote Emma?",
    "answers": ["Jane Austen", "Austen"],
    "passage_id": "wiki:1",
    "answer_start": [10, 15],
    "split": "train",
    "regex": False,
    "category": "books",
}


@pytest.fixture
def write(tmp_path):
    def _write(*records, name="qa.jsonl", compress=bytes):
        path = tmp_path / name
        lines = "".join(json.dumps(record) + "\n" for record in records)
        path.write_bytes(compress(lines.encode()))
        return path

    return _write


def test_read_fills_every_field(write):
    assert read_questions(write(FULL)) == [
        Question(
            question_id="q1",
            question="Who wrote Emma?",
            answers=("Jane Austen", "Austen"),
            passage_id="wiki:1",
            answer_starts=(10, 15),
            split="train",
        )
    ]


def test_read_accepts_one_offset_for_one_answer(write):
    path = write(FULL | {"answers": ["Austen"], "answer_start": 15})
    assert read_questions(path)[0].answer_starts == (15,)


def test_read_accepts_official_form_and_names_by_file_and_line(write):
    path = write({"question": "who", "answer": ["x"]}, name="nq.test.jsonl")
    assert read_questions(path) == [Question("nq.test.jsonl:1", "who", ("x",))]


def test_read_joins_several_files_and_keeps_duplicates(write):
    paths = [
        write(FULL, FULL),
        write(FULL | {"regex": True}, name="b.gz", compress=gzip.compress),
    ]
    questions = read_questions(paths)
    assert [question.regex for question in questions] == [False, False, True]
    assert {question.question_id for question in questions} == {"q1"}


def test_questions_may_have_no_answer(write):
    none = FULL | {"answers": [], "answer_start": []}
    squad = none | {"answers": {"text": [], "answer_start": []}}
    relevant = none | {"passage_ids": ["emma"]}
    for question in read_questions(write(none, squad)):
        assert question.is_unanswerable
        assert question.own_passages == ()
    assert not read_questions(write(FULL))[0].is_unanswerable
    assert not read_questions(write(relevant))[0].is_unanswerable


def test_split_keeps_only_its_questions(write):
    path = write(FULL, FULL | {"id": "q2", "split": "test"})
    assert len(read_questions(path)) == 2
    assert [q.question_id for q in read_questions(path, split="test")] == ["q2"]


def test_unknown_split_is_refused(write):
    path = write(FULL, FULL | {"split": "dev"})
    with pytest.raises(
        ValueError, match=r"split='tset', the files have \['dev', 'train'\]"
    ):
        read_questions(path, split="tset")


def test_empty_file_has_no_questions(write):
    assert read_questions(write(), split="test") == []


def without(name):
    return {key: value for key, value in FULL.items() if key != name}


@pytest.mark.parametrize(
    "record, message",
    [
        (without("question"), "`question` must be given. Received: fields"),
        (without("answers"), "`answers` must be given. Received: fields"),
        (FULL | {"question": 5}, "`question` must be text"),
        (FULL | {"id": True}, "`id` must be text"),
        (FULL | {"answers": "Austen"}, "`answers` must be a list of texts"),
        (FULL | {"answers": None}, "`answers` must be given"),
        (FULL | {"answers": ["Austen", 5]}, "`answers` must be a list of text"),
        (FULL | {"passage_id": None}, "`passage_id` must be text"),
        (FULL | {"split": 1}, "`split` must be text"),
        (FULL | {"regex": "yes"}, "`regex` must be true or false"),
        (FULL | {"answer_start": ["1", 2]}, "`answer_start` must hold offsets"),
        (FULL | {"answer_start": [-1, 2]}, "`answer_start` must hold offsets"),
        (FULL | {"answer_start": [True, 2]}, "must hold offsets"),
        (FULL | {"answer_start": [1]}, "1 offsets, 2 answers"),
    ],
)
def test_bad_record_names_file_and_line_or_is_skipped(
    write, caplog, record, message
):
    path = write(FULL, record)
    with pytest.raises(BadRecordError, match=f"{message}.*qa.jsonl, line 2"):
        read_questions(path)
    with caplog.at_level(logging.WARNING):
        assert len(read_questions(path, skip_bad=True)) == 1
    assert "Skipped 1 bad records" in caplog.text


def test_regex_sets_the_rule_where_records_do_not(write):
    path = write({"question": "who", "answer": ["x"]}, name="CuratedTrec.jsonl")
    assert not read_questions(path)[0].regex
    assert read_questions(path, regex=True)[0].regex


@pytest.mark.parametrize(
    "name, regex, is_warned",
    [
        ("CuratedTrec.resplit.test.jsonl", None, True),
        ("CuratedTrec.resplit.test.jsonl", True, False),
        ("NaturalQuestions.test.jsonl", True, True),
        ("NaturalQuestions.test.jsonl", None, False),
        ("NaturalQuestions.test.jsonl", False, False),
    ],
)
def test_rule_that_does_not_go_with_the_file_is_logged(
    write, caplog, name, regex, is_warned
):
    path = write({"question": "who", "answer": ["x"]}, name=name)
    with caplog.at_level(logging.WARNING):
        read_questions(path, regex=regex)
    assert ("regular expressions. Received" in caplog.text) is is_warned


def test_ids_may_be_whole_numbers(write):
    records = [
        {"id": 7, "question": "a", "answers": ["x"], "passage_id": 0},
        {"_id": 8, "question": "a", "passage_ids": [12, "d"]},
    ]
    first, second = read_questions(write(*records))
    assert (first.question_id, first.passage_id) == ("7", "0")
    assert (second.question_id, second.passage_ids) == ("8", ("12", "d"))


def test_passages_of_dpr_are_relevant(write):
    contexts = [
        {"title": "A", "text": "a", "passage_id": "11828866"},
        {"title": "B", "text": "b", "psg_id": 7},
        {"title": "B", "text": "b", "psg_id": "7"},
        {"title": "C", "text": "c"},
    ]
    record = {"question": "q", "answers": ["a"], "positive_ctxs": contexts}
    record["negative_ctxs"] = [{"passage_id": "9"}]
    none = {"question": "q", "answers": ["a"], "positive_ctxs": []}
    found = read_questions(write(record, none))
    assert [q.passage_ids for q in found] == [("11828866", "7"), ()]
    with pytest.raises(BadRecordError, match="`positive_ctxs` must be a list"):
        read_questions(write(record | {"positive_ctxs": ["11828866"]}))


def test_trivia_qa_of_datasets_is_read(write):
    answer = {"value": "Sunset", "aliases": ["Sunset", "West Sunset"]}
    record = {"question": "q", "question_id": "tc_1", "answer": answer}
    [question] = read_questions(write(record))
    assert question.question_id == "tc_1"
    assert question.answers == ("Sunset", "West Sunset")
    hidden = record | {"answer": {"value": "<unk>", "aliases": []}}
    with pytest.raises(BadRecordError, match="must not be hidden.*line 1"):
        read_questions(write(hidden))


@pytest.mark.parametrize("text", ["1815", ["1815", 5], None])
def test_answers_of_squad_must_be_lists_of_texts(write, text):
    record = {"question": "q", "answers": {"text": text, "answer_start": [1]}}
    with pytest.raises(BadRecordError, match="`answers` must be"):
        read_questions(write(record))


def test_relevant_passages_may_stand_for_answers(write, tmp_path):
    path = write(
        {"question": "a", "passage_ids": ["1", "2"]},
        {"question": "b", "passage_ids": ["3", "4"], "relevances": [2, 1]},
        {"question": "c", "answers": ["x"], "passage_id": "3"},
    )
    found = read_questions(path)
    assert [q.answers for q in found] == [(), (), ("x",)]
    assert [q.passage_ids for q in found] == [("1", "2"), ("3", "4"), ()]
    assert [q.own_passages for q in found] == [("1", "2"), ("3", "4"), ("3",)]
    assert [q.judgements for q in found] == [
        {"1": 1, "2": 1},
        {"3": 2, "4": 1},
        {"3": 1},
    ]
    copy = tmp_path / "copy.jsonl"
    write_questions(found, copy)
    assert read_questions(copy) == found


@pytest.mark.parametrize(
    ("relevances", "problem"),
    [
        (1, "must be whole numbers"),
        ([0, 1], "must be whole numbers"),
        ([True, 1], "must be whole numbers"),
        ([1], "Received: 1 relevances, 2 passages"),
    ],
)
def test_relevances_must_fit_the_passages(relevances, problem, write):
    record = {"question": "a", "passage_ids": ["1", "2"]}
    with pytest.raises(BadRecordError, match=f"`relevances` .*{problem}"):
        read_questions(write(record | {"relevances": relevances}))


def test_passages_must_be_texts(write):
    with pytest.raises(BadRecordError, match="`passage_ids` must be a list"):
        read_questions(write({"question": "a", "passage_ids": [None]}))
