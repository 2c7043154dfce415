"""Folders of the BEIR benchmark -> `Question`s with relevant passages."""

import csv
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

from realm_tf.data.corpus import jsonl
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

QUERIES_NAME = "queries.jsonl"
_JUDGEMENTS = "qrels"
_COLUMNS = ["query-id", "corpus-id", "score"]


def read_beir(folder: pathlib.Path) -> list[Question]:
    """Reads the questions of a BEIR folder.

    Args:
        folder: with `queries.jsonl` and `qrels/*.tsv`, each a split.
            `corpus.jsonl` beside them is read by `build_corpus`.

    Returns:
        list of `Question` without answers, whose `passage_ids` are judged
        better than 0. Questions of several splits occur in each of them.
        Judgements of questions that are not there, as in NFCorpus, are left
        out, and a warning counts them.

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
    records = jsonl.read_jsonl(queries, parse=_query)
    texts = dict(query for _, query in records)
    return [question for file in files for question in _read_split(file, texts)]


def _query(record: dict[str, Any]) -> tuple[str, str]:
    name = record.get("_id", record.get("id"))
    if type(name) is int:
        name = str(name)
    text = jsonl.text_field(record, "text")
    return jsonl.text_field({"_id": name}, "_id"), text


def _read_split(
    file: pathlib.Path, texts: dict[str, str]
) -> Iterator[Question]:
    relevant: dict[str, list[str]] = {}
    unknown: dict[str, int] = {}
    with open(file, encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in rows:
            if rows.line_num == 1 and row == _COLUMNS:
                continue
            judgement = _judgement(row)
            if judgement is None:
                raise BadRecordError(
                    str(file),
                    rows.line_num,
                    f"A judgement must be {', '.join(_COLUMNS)}. Received: "
                    f"{str(row)[:200]}.",
                    "Unpack the data set again.",
                )
            query, passage, score = judgement
            if query not in texts:
                unknown[query] = rows.line_num
                continue
            if score > 0:
                relevant.setdefault(query, []).append(passage)
    if unknown:
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
    for query, passages in relevant.items():
        yield Question(
            question_id=query,
            question=texts[query],
            answers=(),
            split=file.stem,
            passage_ids=tuple(dict.fromkeys(passages)),
        )


def _judgement(row: list[str]) -> tuple[str, str, float] | None:
    try:
        query, passage, score = row
        return query, passage, float(score)
    except ValueError:
        return None
