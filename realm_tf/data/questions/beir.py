"""Folders of the BEIR benchmark -> `Question`s with relevant passages."""

import csv
import pathlib
from collections.abc import Iterator

from realm_tf.data.corpus import jsonl
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError

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
    texts = {
        jsonl.text_field(record, "_id"): jsonl.text_field(record, "text")
        for _, record in jsonl.read_jsonl(queries)
    }
    return [question for file in files for question in _read_split(file, texts)]


def _read_split(
    file: pathlib.Path, texts: dict[str, str]
) -> Iterator[Question]:
    relevant: dict[str, list[str]] = {}
    with open(file, encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in rows:
            if rows.line_num == 1 and row == _COLUMNS:
                continue
            query, passage, score = _judgement(row) or ("", "", 0.0)
            if query not in texts:
                raise BadRecordError(
                    str(file),
                    rows.line_num,
                    f"A judgement must be {', '.join(_COLUMNS)}, of a query "
                    f"in {QUERIES_NAME}. Received: {str(row)[:200]}.",
                    "Unpack the data set again.",
                )
            if score > 0:
                relevant.setdefault(query, []).append(passage)
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
