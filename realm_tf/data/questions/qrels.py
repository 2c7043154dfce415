"""Relevance judgements (qrels), as TREC and BEIR write them."""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> relevance; 0 or less is not relevant."""

_HEADER = ["query-id", "corpus-id", "score"]


def read_qrels(path: str | os.PathLike[str]) -> Qrels:
    """Reads which documents are relevant to which queries.

    Args:
        path: lines of query, iteration, document and relevance between white
            space (TREC), or of query, document and relevance between tabs,
            with a header or without (BEIR); plain or compressed.

    Raises:
        BadRecordError: at a line that is neither.
    """
    qrels: Qrels = {}
    for _, query, document, relevance in read_judgements(path):
        qrels.setdefault(query, {})[document] = relevance
    return qrels


def read_judgements(
    path: str | os.PathLike[str],
) -> Iterator[tuple[int, str, str, int]]:
    """The judgements of a file, one by one; see `read_qrels`.

    Yields:
        Number of the line, query, document, relevance.
    """
    with DecompressedFile(path) as file:
        for number, line in file.lines():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            fields = text.split("\t")
            if len(fields) != 3:
                fields = text.split()
            if not fields or (number == 1 and fields == _HEADER):
                continue
            judgement = _judgement(fields)
            if judgement is None:
                raise BadRecordError(
                    os.fspath(path),
                    number,
                    "A judgement must be query, 0, document, relevance (TREC) "
                    f"or {', '.join(_HEADER)} (BEIR), with a whole number. "
                    f"Received: {text[:200]!r}.",
                    "Correct the line, or unpack the data set again.",
                )
            yield number, *judgement


def _judgement(fields: list[str]) -> tuple[str, str, int] | None:
    if len(fields) == 4:
        fields = [fields[0], *fields[2:]]
    try:
        query, document, relevance = fields
        grade = float(relevance)
        return (query, document, int(grade)) if grade.is_integer() else None
    except (ValueError, OverflowError):
        return None


def qrels_of(questions: Sequence[Question]) -> Qrels:
    """The judgements of questions, by their known passages.

    Questions without any are left out.

    Raises:
        ValueError: if no question has a known passage, or two of those that
            have one have the same id.
    """
    judged = [question for question in questions if question.own_passages]
    if not judged:
        raise ValueError(
            "`questions` must have known passages, by `passage_id`, "
            f"`passage_ids` or judgements. Received: {len(questions)} "
            "questions without."
        )
    counts = Counter(question.question_id for question in judged)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise ValueError(
            "`questions` must have an id each, by which they are judged. "
            f"Received: {name!r} {count} times. Choose one `split`, or give "
            "each an id of its own."
        )
    return {q.question_id: q.judgements for q in judged}


def judged_questions(
    questions: Sequence[Question], qrels: Qrels
) -> list[Question]:
    """Questions with the passages of judgements in place of their own.

    Args:
        questions: `Question`s, whose ids are those of the queries.
        qrels: see `read_qrels`.

    Returns:
        list of `Question`. Those that no document is relevant to are left
        out; a warning counts queries that are not among the questions.

    Raises:
        ValueError: if no question is judged.
    """
    judged = []
    for question in questions:
        grades = _relevant(qrels.get(question.question_id, {}))
        if grades:
            judged.append(with_judgements(question, grades))
    unknown = qrels.keys() - {q.question_id for q in questions}
    if questions and not judged:
        raise ValueError(
            "`qrels` must judge some of the questions. Received: queries such "
            f"as {sorted(qrels)[:3]}, questions such as "
            f"{[q.question_id for q in questions[:3]]}."
        )
    if unknown:
        logger.warning(
            "Left out the judgements of %d queries that are not among the "
            "questions, the first %s.",
            len(unknown),
            min(unknown),
        )
    return judged


def with_judgements(question: Question, grades: dict[str, int]) -> Question:
    """The question with other passages, of which each is relevant."""
    is_graded = any(grade != 1 for grade in grades.values())
    return dataclasses.replace(
        question,
        passage_id=None,
        answer_starts=(),
        passage_ids=tuple(grades),
        relevances=tuple(grades.values()) if is_graded else (),
    )


def _relevant(grades: dict[str, int]) -> dict[str, int]:
    return {name: grade for name, grade in grades.items() if grade > 0}
