"""Folders of the BEIR benchmark -> `Question`s with relevant passages."""

import logging
import os
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from realm_tf.data.corpus import jsonl
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.questions.qrels import read_judgements, with_judgements
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

QUERIES_NAME = "queries.jsonl"
_JUDGEMENTS = "qrels"


def read_beir(
    folder: pathlib.Path, left_out: Counter[str] | None = None
) -> list[Question]:
    """Reads the questions of a BEIR folder.

    Args:
        folder: with `queries.jsonl` and `qrels/*.tsv`, each a split.
            `corpus.jsonl` beside them is read by `build_corpus`.
        left_out: counts what is left out, by its kind.

    Returns:
        list of `Question` without answers, whose `passage_ids` are judged
        better than 0, with these `relevances`. Questions of several splits
        occur in each of them. Judgements of questions that are not there, as
        in NFCorpus, are left out, and a warning counts them.

    Raises:
        ValueError: if a file is missing or is none of BEIR.
    """
    queries, judgements = folder / QUERIES_NAME, folder / _JUDGEMENTS
    files = sorted(judgements.glob("*.tsv"))
    if not queries.is_file() or not files:
        raise ValueError(
            f"A BEIR folder must hold {QUERIES_NAME} and {_JUDGEMENTS}/*.tsv. "
            f"Received: {folder}. Name a file in place of the folder, or "
            "unpack the data set again."
        )
    texts = {q.question_id: q.question for q in read_queries(queries)}
    left_out = Counter() if left_out is None else left_out
    return [
        question
        for file in files
        for question in _read_split(file, texts, left_out)
    ]


def read_queries(path: str | os.PathLike[str]) -> list[Question]:
    """Reads queries whose judgements are elsewhere; see `judged_questions`.

    Args:
        path: JSON lines with "_id" or "id" and "text" or "question" (BEIR), or
            lines of id and text with a tab between (topics of TREC); plain or
            compressed.

    Returns:
        list of `Question` without answers.

    Raises:
        BadRecordError: at a line that is neither.
    """
    with DecompressedFile(path) as file:
        if file.read(4096).lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"{"):
            records = jsonl.read_jsonl(path, parse=_query)
            return [query for _, query in records]
    return list(_read_topics(path))


def _query(record: dict[str, Any]) -> Question:
    name = record.get("_id", record.get("id"))
    if type(name) is int:
        name = str(name)
    field = "question" if "question" in record else "text"
    text = jsonl.text_field(record, field)
    return Question(jsonl.text_field({"_id": name}, "_id"), text, ())


def _read_topics(path: str | os.PathLike[str]) -> Iterator[Question]:
    with DecompressedFile(path) as file:
        for number, line in file.lines():
            text = line.decode("utf-8", "replace").strip()
            name, tab, query = text.partition("\t")
            if not text:
                continue
            if not tab:
                raise BadRecordError(
                    os.fspath(path),
                    number,
                    "A query must be an id and a text with a tab between, or "
                    f"a JSON object. Received: {text[:200]!r}.",
                    "Correct the line.",
                )
            yield Question(name, query.strip(), ())


def _read_split(
    file: pathlib.Path, texts: dict[str, str], left_out: Counter[str]
) -> Iterator[Question]:
    relevant: dict[str, dict[str, int]] = {}
    unknown: dict[str, int] = {}
    for line, query, passage, relevance in read_judgements(file):
        if query not in texts:
            unknown[query] = line
        elif relevance > 0:
            relevant.setdefault(query, {})[passage] = relevance
    if unknown:
        left_out["queries that are not there"] += len(unknown)
        query, line = next(iter(unknown.items()))
        logger.warning(
            "Left out the judgements of %d questions that are not in %s, the "
            "first %s. File: %s, line %d.",
            len(unknown),
            QUERIES_NAME,
            query,
            file,
            line,
        )
    for query, grades in relevant.items():
        question = Question(query, texts[query], (), split=file.stem)
        yield with_judgements(question, grades)
