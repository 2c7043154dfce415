"""Questions with their answers, read from JSON lines and tables."""

import dataclasses
import logging
import os
import reprlib
from collections.abc import Iterable
from typing import Any

from realm_tf.data.corpus import jsonl
from realm_tf.data.questions import dpr

logger = logging.getLogger(__name__)

Path = str | os.PathLike[str]
_ID_NAMES = ("id", "_id", "question_id")
_HIDDEN = "<unk>"


@dataclasses.dataclass(frozen=True)
class Question:
    """One question, and what is known of its answer.

    Args:
        question_id: str. Name of the question in reports.
        question: str. The text that is asked.
        answers: tuple of str. Spellings of the answer, any of which is right.
            Empty where only relevant passages are known (BEIR), and where the
            question has none (SQuAD 2.0), see `is_unanswerable`.
        passage_id: str or None. Document that holds the answer.
        answer_starts: tuple of int. Where each answer starts in that document,
            in characters; empty if not known.
        split: str or None. "train", "dev" or "test".
        regex: bool. The answers are regular expressions.
        passage_ids: tuple of str. Documents that are relevant, where there
            may be several.
        relevances: tuple of int. Graded relevance of each of `passage_ids`, 1
            or more; empty where all are 1.
    """

    question_id: str
    question: str
    answers: tuple[str, ...]
    passage_id: str | None = None
    answer_starts: tuple[int, ...] = ()
    split: str | None = None
    regex: bool = False
    passage_ids: tuple[str, ...] = ()
    relevances: tuple[int, ...] = ()

    @property
    def is_unanswerable(self) -> bool:
        """Whether no answer is right: there are none, and no `passage_ids`."""
        return not self.answers and not self.passage_ids

    @property
    def own_passages(self) -> tuple[str, ...]:
        """All documents that are known to be right."""
        return tuple(self.judgements)

    @property
    def judgements(self) -> dict[str, int]:
        """Relevance of each of `own_passages`."""
        judged: dict[str, int] = {}
        if self.passage_id is not None and not self.is_unanswerable:
            judged[self.passage_id] = 1
        relevances = self.relevances or (1,) * len(self.passage_ids)
        return judged | dict(zip(self.passage_ids, relevances, strict=True))


def read_questions(
    paths: Path | Iterable[Path],
    *,
    split: str | None = None,
    regex: bool | None = None,
    skip_bad: bool = False,
) -> list[Question]:
    """Reads questions from JSON lines and tables of DPR, plain or compressed.

    A record is `{"id", "question", "answers"}` with the optional fields
    `passage_id`, `passage_ids`, `relevances` (one for each of these),
    `answer_start` (characters: one number, or a list with one for each answer),
    `split` and `regex`; other fields are passed over. Ids may be whole numbers.
    SQuAD and TriviaQA of `datasets` are read, `{"text": [...]}` and
    `{"value", "aliases"}`, and so are DPR's `positive_ctxs`, whose passages are
    `passage_ids`. A table of DPR has a question, a tab and a list of answers.
    Answers may be missing where `passage_ids` are given. `"answers": []`
    without them says that the question has no answer, as in SQuAD 2.0. The
    official form of ORQA, `{"question", "answer"}`, is read too. A record
    without an id is named after its file and line. Questions that occur twice
    are kept twice.

    Args:
        paths: one file or several.
        split: str. Keep the questions of this split only.
        regex: bool. Whether answers are regular expressions, where the
            records do not say so, as in the official CuratedTrec files. None
            leaves it to the records. A warning tells if it does not go with
            the name of the file, as in the official evaluation.
        skip_bad: bool. Skip invalid records and log how many there were, in
            place of stopping at the first.

    Returns:
        list of `Question`, in the order of the files.

    Raises:
        BadRecordError: at the first bad record, unless `skip_bad`.
        ValueError: if there are questions, but none of `split`.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    questions = []
    for path in paths:
        records = jsonl.read_jsonl(
            path,
            parse=question_of_record,
            skip_bad=skip_bad,
            decode=dpr.decode_row if dpr.is_table(path) else None,
        )
        named = [
            _complete(question, f"{os.path.basename(path)}:{line}", regex)
            for line, question in records
        ]
        _check_rule(os.fspath(path), named, regex)
        questions += named
    return select_split(questions, split)


def select_split(
    questions: list[Question], split: str | None
) -> list[Question]:
    """The questions of a split; all of them for None.

    Raises:
        ValueError: if there are questions, but none of `split`.
    """
    if split is None:
        return questions
    kept = [question for question in questions if question.split == split]
    if questions and not kept:
        found = sorted({str(question.split) for question in questions})
        raise ValueError(
            "`split` must be one of the files' splits. Received: "
            f"split={split!r}, the files have {found}."
        )
    return kept


def _complete(question: Question, name: str, regex: bool | None) -> Question:
    return dataclasses.replace(
        question,
        question_id=question.question_id or name,
        regex=question.regex if regex is None else regex,
    )


def _check_rule(
    path: str, questions: list[Question], regex: bool | None
) -> None:
    is_curatedtrec = "curatedtrec" in path.lower()
    if regex is None and not is_curatedtrec:
        return
    if any(question.regex != is_curatedtrec for question in questions):
        logger.warning(
            "The answers of CuratedTrec, and of no other set, are regular "
            "expressions. Received: path=%s, regex=%s. Pass `regex=%s`, or "
            "rename the file.",
            path,
            not is_curatedtrec,
            is_curatedtrec,
        )


def question_of_record(record: dict[str, Any]) -> Question:
    """The question of one JSON object; see `read_questions`.

    Raises:
        ValueError: naming the field that is bad.
    """
    record = _plain_record(record)
    passage_ids = _texts(record, "passage_ids")
    answers = () if passage_ids and _has_none(record) else _answers(record)
    return Question(
        question_id=jsonl.text_field(record, "id", default=""),
        question=jsonl.text_field(record, "question"),
        answers=answers,
        passage_id=_optional_text(record, "passage_id"),
        answer_starts=_answer_starts(record, len(answers)),
        split=_optional_text(record, "split"),
        regex=_flag(record, "regex"),
        passage_ids=passage_ids,
        relevances=_relevances(record, len(passage_ids)),
    )


def _plain_record(record: dict[str, Any]) -> dict[str, Any]:
    """A record of another data set with the names and types of ours."""
    record = dict(record)
    named = [name for name in _ID_NAMES if name in record]
    if named:
        record["id"] = _id_text(record[named[0]])
    if "positive_ctxs" in record and "passage_ids" not in record:
        record["passage_ids"] = _positive_passages(record["positive_ctxs"])
    if "passage_id" in record:
        record["passage_id"] = _id_text(record["passage_id"])
    if isinstance(record.get("passage_ids"), list):
        record["passage_ids"] = [_id_text(i) for i in record["passage_ids"]]
    for name in ("answers", "answer"):
        if isinstance(record.get(name), dict):
            record[name] = _spellings(record[name])
    return record


def _id_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _positive_passages(contexts: Any) -> list[Any]:
    """Ids of the passages that DPR trains on, where they have any."""
    if not isinstance(contexts, list) or not all(
        isinstance(context, dict) for context in contexts
    ):
        raise ValueError(
            "`positive_ctxs` must be a list of objects. Received: "
            f"positive_ctxs={reprlib.repr(contexts)}."
        )
    ids = [c.get("passage_id", c.get("psg_id")) for c in contexts]
    return list(dict.fromkeys(_id_text(i) for i in ids if i is not None))


def _spellings(answer: dict[str, Any]) -> Any:
    """The texts in the answers of SQuAD and TriviaQA in `datasets`."""
    texts = answer.get("text", answer)
    if "value" in answer:
        if answer["value"] == _HIDDEN:
            raise ValueError(
                "`answer` must not be hidden, as those of TriviaQA's test set "
                f"are. Received: {_HIDDEN}. Choose another split."
            )
        texts = [answer["value"], *answer.get("aliases", [])]
    if isinstance(texts, list) and all(isinstance(t, str) for t in texts):
        # Offsets are in `context`, which is no document of a corpus.
        return list(dict.fromkeys(texts))
    return texts


def _has_none(record: dict[str, Any]) -> bool:
    return not (record.get("answers") or record.get("answer"))


def _texts(record: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = record.get(name, [])
    if not isinstance(texts, list) or not all(
        isinstance(text, str) for text in texts
    ):
        raise ValueError(
            f"`{name}` must be a list of texts. Received: "
            f"{name}={reprlib.repr(texts)}."
        )
    return tuple(texts)


def _answers(record: dict[str, Any]) -> tuple[str, ...]:
    name = "answers" if "answers" in record else "answer"
    answers = record.get(name)
    if answers is None:
        fields = reprlib.repr(sorted(record))
        raise ValueError(f"`answers` must be given. Received: fields {fields}.")
    if not isinstance(answers, list) or not all(
        isinstance(answer, str) for answer in answers
    ):
        raise ValueError(
            f"`{name}` must be a list of texts, empty for a question without "
            f"an answer. Received: {name}={reprlib.repr(answers)}."
        )
    return tuple(answers)


def _answer_starts(record: dict[str, Any], num_answers: int) -> tuple[int, ...]:
    starts = record.get("answer_start", [])
    if not isinstance(starts, list):
        starts = [starts]
    # A bool is an int to Python, but not an offset.
    if not all(type(start) is int and start >= 0 for start in starts):
        raise ValueError(
            "`answer_start` must hold offsets in characters. Received: "
            f"answer_start={reprlib.repr(starts)}."
        )
    if starts and len(starts) != num_answers:
        raise ValueError(
            "`answer_start` must hold one offset for each answer. Received: "
            f"{len(starts)} offsets, {num_answers} answers."
        )
    return tuple(starts)


def _relevances(record: dict[str, Any], num_passages: int) -> tuple[int, ...]:
    grades = record.get("relevances", [])
    if not isinstance(grades, list) or not all(
        type(grade) is int and grade >= 1 for grade in grades
    ):
        raise ValueError(
            "`relevances` must be whole numbers of 1 or more. Received: "
            f"relevances={reprlib.repr(grades)}."
        )
    if grades and len(grades) != num_passages:
        raise ValueError(
            "`relevances` must hold one number for each of `passage_ids`. "
            f"Received: {len(grades)} relevances, {num_passages} passages."
        )
    return tuple(grades)


def _optional_text(record: dict[str, Any], name: str) -> str | None:
    return jsonl.text_field(record, name) if name in record else None


def _flag(record: dict[str, Any], name: str) -> bool:
    value = record.get(name, False)
    if isinstance(value, bool):
        return value
    raise ValueError(
        f"`{name}` must be true or false. Received: {name}={value!r}."
    )
