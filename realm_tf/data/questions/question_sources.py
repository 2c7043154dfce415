"""What people have at hand, as questions."""

import dataclasses
import os
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.article import rows_of
from realm_tf.data.questions.question_sets import read_question_set
from realm_tf.data.questions.questions import Question, question_of_record

QuestionLike = Question | Mapping[str, Any] | tuple[str, str | list[str]]
"""`Question`, dict with the fields of `read_questions`, or pair of a question
and its answer or answers."""

QuestionSource = str | os.PathLike[str] | Iterable[QuestionLike]
"""Path of a file that `read_question_set` reads, or several questions, such as
a list, a `tf.data.Dataset` or a table with columns of these names."""


def as_questions(source: QuestionSource) -> list[Question]:
    """Converts to a list of `Question`.

    Args:
        source: see `QuestionSource`. Elements of a `tf.data.Dataset` are dicts
            or pairs of one question each; empty answers, with which a batch
            was padded, are skipped. A question without an id is named after
            its position.

    Raises:
        BadRecordError: if a file has a bad record.
        TypeError: if an element is nothing of the kind.
        ValueError: if a field is bad, or there is no question.

    Example:
    >>> as_questions([("Who wrote Emma?", "Jane Austen")])[0].answers
    ('Jane Austen',)
    """
    if isinstance(source, str | os.PathLike):
        questions = read_question_set(source)
    elif isinstance(source, Question | Mapping) or not isinstance(
        source, Iterable
    ):
        raise TypeError(
            "`questions` must be a path or several questions. Received: "
            f"{type(source).__name__}. Put a single question in a list."
        )
    else:
        elements: Iterable[Any] = rows_of(source, "question")
        if isinstance(source, tf.data.Dataset):
            elements = map(_plain, source.as_numpy_iterator())
        questions = [_as_question(given, i) for i, given in enumerate(elements)]
    if not questions:
        raise ValueError(
            "`questions` must hold at least one question. Received: none."
        )
    return questions


def _as_question(given: Any, position: int) -> Question:
    if isinstance(given, Question):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        given = dict(zip(("question", "answers"), given, strict=True))
    if not isinstance(given, Mapping):
        raise TypeError(
            "A question must be a `Question`, a dict with 'question' and "
            "'answers', or a pair of a question and its answers. Received: "
            f"{reprlib.repr(given)} at position {position}."
        )
    record = {name: _without_arrays(part) for name, part in given.items()}
    for name in ("answers", "answer"):
        answers = record.get(name)
        if isinstance(answers, str):
            record[name] = [answers]
        elif isinstance(answers, tuple):
            record[name] = list(answers)
    try:
        question = question_of_record(record)
    except ValueError as error:
        raise ValueError(f"{error} At position {position}.") from error
    name = question.question_id or str(position)
    return dataclasses.replace(question, question_id=name)


def _without_arrays(value: Any) -> Any:
    """Lists in place of arrays, which pandas makes of them."""
    if isinstance(value, Mapping):
        return {name: _without_arrays(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _plain(value: Any) -> Any:
    """Values of an element of a dataset as those of JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    if isinstance(value, np.ndarray):
        parts = [_plain(part) for part in value.tolist()]
        return [part for part in parts if part != ""]
    if isinstance(value, np.generic):
        return value.item()
    return value.decode("utf-8") if isinstance(value, bytes) else value
