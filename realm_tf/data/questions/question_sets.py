"""Published question sets -> `Question`s, with the official split."""

import dataclasses
import json
import logging
import os
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from realm_tf.data.corpus import jsonl
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats import json_values
from realm_tf.data.questions.beir import read_beir
from realm_tf.data.questions.questions import (
    Question,
    question_of_record,
    read_questions,
)
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

# train, dev and test of the official split, as published.
PUBLISHED_SIZES = {
    "NaturalQuestions": (79_168, 8_757, 3_610),
    "WebQuestions": (3_417, 361, 2_032),
    "CuratedTrec": (1_353, 133, 694),
    "TriviaQA": (78_785, 8_837, 11_313),
    "SQuAD": (78_713, 8_886, 10_570),
}
_NUM_BUCKETS = 100_000
_DEV_BUCKET, _NUM_PARTS = 0, 10
_HASHED_AT_ONCE = 65_536
_MAX_JSON_BYTES = 2**31
# In quotes where it holds brackets.
_DESCRIPTION = re.compile(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()"]*))\)')


def official_splits(questions: Iterable[str]) -> list[str]:
    """The split of each question, "train" or "dev", by the hash of its text.

    Args:
        questions: texts, exactly as they are asked.

    Returns:
        list of str.

    Example:
    >>> official_splits(["where was victor hugo born"])
    ['train']

    Source: google-research/language, orqa/preprocessing/create_data_splits.
    """
    texts = list(questions)
    splits: list[str] = []
    for start in range(0, len(texts), _HASHED_AT_ONCE):
        part = [t.encode() for t in texts[start : start + _HASHED_AT_ONCE]]
        buckets = tf.strings.to_hash_bucket_fast(part, _NUM_BUCKETS).numpy()
        is_dev = buckets % _NUM_PARTS == _DEV_BUCKET
        splits += ["dev" if dev else "train" for dev in is_dev.tolist()]
    return splits


def resplit(questions: Iterable[Question]) -> list[Question]:
    """Questions of a training set with the official split in their `split`."""
    listed = list(questions)
    splits = official_splits(question.question for question in listed)
    return [
        dataclasses.replace(question, split=split)
        for question, split in zip(listed, splits, strict=True)
    ]


def read_question_set(
    path: str | os.PathLike[str], left_out: Counter[str] | None = None
) -> list[Question]:
    """Reads a question set as its authors publish it.

    Args:
        path: JSON lines (NQ-open, `*.resplit.*.jsonl`, DrQA's WebQuestions and
            CuratedTrec, our own), the JSON of WebQuestions, TriviaQA or SQuAD,
            an array of the objects of JSON lines, or a table of DPR; plain or
            compressed. Files named after CuratedTrec hold regular expressions.
            Or a folder of BEIR.
        left_out: counts what is left out, by its kind, such as questions
            without answers. A warning counts it, too.

    Raises:
        BadRecordError: at a bad record, naming file and line.
        ValueError: if it is none of these, naming the file.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return read_beir(path, left_out)
    content = _whole_json(path)
    if content is None:
        regex = True if "curatedtrec" in path.name.lower() else None
        return read_questions(path, regex=regex)
    if _is_array_of_ours(content):
        return list(_read_array(path))
    try:
        found = list(_of_json(content))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            "A question set must have the fields of WebQuestions, TriviaQA or "
            f"SQuAD. Received: {path} ({type(error).__name__}: {error}). Check "
            "the file, or convert it to JSON lines."
        ) from error
    # Those of SQuAD 2.0 without answers have none; here answers are missing.
    questions = [question for question in found if question is not None]
    num_without = len(found) - len(questions)
    if num_without:
        logger.warning(
            "Left out %d questions without answers. File: %s.",
            num_without,
            path,
        )
        if left_out is not None:
            left_out["questions without answers"] += num_without
    if not questions:
        raise ValueError(
            f"A question set must hold answered questions. Received: {path} "
            "with none, as in the test set of TriviaQA. Choose another split."
        )
    return questions


def published_matches(splits: Mapping[str, int]) -> list[str]:
    """Published sets and splits that are as large as these.

    Args:
        splits: split -> questions. What has no split is compared as a whole.

    Returns:
        list of str.

    Example:
    >>> published_matches({"train": 3417, "dev": 361})
    ['WebQuestions train', 'WebQuestions dev']
    >>> published_matches({"None": 3778})
    ['WebQuestions train+dev']
    """
    matches = []
    for name, (train, dev, test) in PUBLISHED_SIZES.items():
        sizes = {"train": train, "dev": dev, "test": test}
        sizes["train+dev"] = train + dev
        for split, size in sizes.items():
            of_split = splits.get(split) == size
            if of_split or (
                list(splits) == ["None"] and splits["None"] == size
            ):
                matches.append(f"{name} {split}")
    return matches


def write_questions(
    questions: Iterable[Question], path: str | os.PathLike[str]
) -> int:
    """Writes JSON lines for `read_questions`; returns how many."""
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        for question in questions:
            record: dict[str, Any] = {
                "id": question.question_id,
                "question": question.question,
                "answers": list(question.answers),
            }
            if question.passage_id is not None:
                record["passage_id"] = question.passage_id
            if question.passage_ids:
                record["passage_ids"] = list(question.passage_ids)
            if question.relevances:
                record["relevances"] = list(question.relevances)
            if question.answer_starts:
                record["answer_start"] = list(question.answer_starts)
            if question.split is not None:
                record["split"] = question.split
            if question.regex:
                record["regex"] = True
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _whole_json(path: pathlib.Path) -> Any:
    """The file's one JSON value, or None if it is JSON lines."""
    with DecompressedFile(path) as file:
        start = file.read(4096).lstrip()
        if start[:1] == b"{" and b"\n" in start:
            first = start.split(b"\n", 1)[0]
            record = _parsed(first)
            if isinstance(record, dict) and not _is_set(record):
                return None
        data = start + file.read(_MAX_JSON_BYTES)
        if len(data) > _MAX_JSON_BYTES:
            raise ValueError(
                f"A JSON file must not be longer than {_MAX_JSON_BYTES} bytes. "
                f"Received: {path}. Write one object a line (.jsonl)."
            )
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None  # JSON lines, of which errors are told by line
    return content if _is_set(content) else None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_set(content: Any) -> bool:
    if isinstance(content, dict):
        is_question = "question" in content
        return not is_question and bool({"Data", "data"} & content.keys())
    return isinstance(content, list)


def _is_array_of_ours(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "targetValue" not in first


def _read_array(path: pathlib.Path) -> Iterator[Question]:
    with DecompressedFile(path) as file:
        values = json_values.read_values(file)
        for position, (line, value) in enumerate(values, 1):
            try:
                question = question_of_record(jsonl.decode_object(value))
            except ValueError as error:
                raise BadRecordError(
                    str(path), line, str(error), "Correct the record."
                ) from error
            name = question.question_id or f"{path.name}:{position}"
            yield dataclasses.replace(question, question_id=name)


def _of_json(content: Any) -> Iterator[Question | None]:
    if isinstance(content, list):
        return _web_questions(content)
    if "Data" in content:
        return _trivia_qa(content["Data"])
    return _squad(content["data"])


def _web_questions(records: list[Any]) -> Iterator[Question | None]:
    for i, record in enumerate(records):
        answers = tuple(
            re.sub(r"\\(.)", r"\1", quoted) or plain
            for quoted, plain in _DESCRIPTION.findall(record["targetValue"])
        )
        question = Question(str(i), record["utterance"], answers)
        yield question if answers else None


def _trivia_qa(records: list[Any]) -> Iterator[Question | None]:
    for record in records:
        if not record.get("Answer"):  # the test set, whose answers are hidden
            yield None
            continue
        answer = record["Answer"]
        spellings = (answer["Value"], *answer.get("Aliases", ()))
        yield Question(
            record["QuestionId"],
            record["Question"],
            tuple(dict.fromkeys(spellings)),
        )


def _squad(articles: list[Any]) -> Iterator[Question | None]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            for record in paragraph["qas"]:
                texts = [answer["text"] for answer in record["answers"]]
                answers = tuple(dict.fromkeys(texts))  # none in SQuAD 2.0
                yield Question(record["id"], record["question"], answers)
