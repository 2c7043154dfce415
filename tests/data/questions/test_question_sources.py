import json

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.questions.question_sources import as_questions
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

EMMA = Question("0", "Who wrote Emma?", ("Jane Austen",))


@pytest.mark.parametrize(
    "given",
    [
        EMMA,
        ("Who wrote Emma?", "Jane Austen"),
        ("Who wrote Emma?", ["Jane Austen"]),
        ["Who wrote Emma?", ("Jane Austen",)],
        {"question": "Who wrote Emma?", "answers": ["Jane Austen"]},
        {"question": "Who wrote Emma?", "answer": "Jane Austen"},
        {"id": "0", "question": "Who wrote Emma?", "answers": "Jane Austen"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_questions_are_what_people_have(given, kind):
    assert as_questions(kind([given])) == [EMMA]


def test_dicts_have_the_fields_of_a_file():
    record = {
        "question": "when?",
        "answers": ["1163"],
        "passage_id": "paris",
        "answer_start": 7,
        "split": "dev",
    }
    assert as_questions([("who?", "x"), record])[1] == Question(
        "1", "when?", ("1163",), "paris", (7,), "dev"
    )


def test_questions_are_read_from_a_file(tmp_path):
    path = tmp_path / "questions.jsonl"
    record = {"id": "0", "question": "Who wrote Emma?", "answer": ["Jane Aust"]}
    path.write_text(json.dumps(record) + "\n")
    for source in (path, str(path)):
        assert as_questions(source)[0].question == "Who wrote Emma?"
    path.write_text('{"question": "who?"}\n')
    with pytest.raises(BadRecordError, match="`answers` must be given"):
        as_questions(path)


@pytest.mark.parametrize(
    "answers",
    [
        np.array(["Jane Austen"], object),
        {"text": np.array(["Jane Austen"], object), "answer_start": None},
    ],
    ids=["NQ-open", "SQuAD"],
)
def test_lists_may_be_arrays_as_in_frames_of_parquet_files(answers):
    row = {"id": 0, "question": "Who wrote Emma?", "answers": answers}
    assert as_questions([row]) == [EMMA]


def test_a_dataset_of_pairs_is_read():
    data = tf.data.Dataset.from_tensor_slices(
        (["Who wrote Emma?", "Où?"], [["Jane Austen", ""], ["là", "ici"]])
    )
    assert as_questions(data) == [EMMA, Question("1", "Où?", ("là", "ici"))]


def test_a_dataset_of_dicts_is_read():
    data = tf.data.Dataset.from_tensor_slices(
        {
            "question": ["when?"],
            "answers": tf.ragged.constant([["1163"]]),
            "passage_id": ["paris"],
            "answer_start": [[7]],
        }
    )
    assert as_questions(data) == [
        Question("0", "when?", ("1163",), "paris", (7,))
    ]


def test_a_dataset_of_batches_is_refused():
    data = tf.data.Dataset.from_tensors((["who?", "when?"], ["a", "b"]))
    with pytest.raises(ValueError, match="`question` must be"):
        as_questions(data)


@pytest.mark.parametrize(
    "given", ["who?", 5, None, ("a", "b", "c"), b"who?"], ids=repr
)
def test_something_else_is_no_question(given):
    with pytest.raises(TypeError, match="A question must be .* at position 1"):
        as_questions([EMMA, given])


@pytest.mark.parametrize("source", [EMMA, {"question": "who?"}, 5, None])
def test_a_single_question_is_not_several(source):
    with pytest.raises(TypeError, match="a path or several questions"):
        as_questions(source)


@pytest.mark.parametrize(
    "given", [("who?", [5]), ("who?", 5), {"question": "who?"}, (5, "x")]
)
def test_bad_fields_are_told_with_their_position(given):
    with pytest.raises(ValueError, match="must .* At position 1"):
        as_questions([EMMA, given])


def test_no_question_is_refused():
    with pytest.raises(ValueError, match="at least one question"):
        as_questions([])
