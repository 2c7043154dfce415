"""A question set and something that answers, to a report."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from realm_tf.data.corpus import jsonl
from realm_tf.data.questions.questions import Question
from realm_tf.errors import BadRecordError
from realm_tf.evaluation import exact_match as answers
from realm_tf.evaluation import recall
from realm_tf.evaluation.regex_answers import RegexOutcome, match_regexes
from realm_tf.evaluation.report import QuestionScore, Report

logger = logging.getLogger(__name__)


class EvidenceBlock(Protocol):
    """What is asked of a block here; `Block` has it."""

    @property
    def text(self) -> str: ...

    @property
    def document_id(self) -> str: ...


class Prediction(Protocol):
    """What is asked of a prediction here; `Answer` has it."""

    @property
    def text(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def blocks(self) -> Sequence[EvidenceBlock]: ...


def evaluate(
    predict: Callable[[list[str]], Sequence[Prediction]],
    questions: Sequence[Question],
    *,
    ks: Iterable[int] = (1, 5, 20),
    batch_size: int = 256,
) -> Report:
    """Asks all questions and scores the answers and their evidence.

    An exception of `predict` ends the evaluation; it never becomes a wrong
    answer. Questions that occur twice count twice.

    Args:
        predict: function from questions to predictions, such as
            `RealmQA.predict`. A prediction has the answer's `text` and
            `score`, and as evidence `blocks` with `text` and `document_id`,
            best first.
        questions: sequence of `Question`.
        ks: iterable of int. Cut-offs of recall. Those beyond the number of
            blocks that came back are left out.
        batch_size: int. Questions in one call of `predict`.

    Returns:
        `Report`.

    Raises:
        ValueError: if there are no questions, or `predict` returns another
            number of predictions than questions.
    """
    regex_outcomes: Counter[RegexOutcome] = Counter()
    scores: list[QuestionScore] = []
    num_blocks = 0
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        predictions = predict([question.question for question in batch])
        if len(predictions) != len(batch):
            raise ValueError(
                "`predict` must return one prediction for each question. "
                f"Received: {len(predictions)} predictions for {len(batch)} "
                "questions."
            )
        for question, prediction in zip(batch, predictions, strict=True):
            scores.append(_score(question, prediction, regex_outcomes))
            num_blocks = max(num_blocks, len(prediction.blocks))
        logger.info("Evaluated %d of %d.", len(scores), len(questions))
    return _report(
        scores, regex_outcomes, ks=_possible_cut_offs(ks, num_blocks)
    )


def evaluate_predictions(
    questions: Sequence[Question], predictions: Mapping[str, str]
) -> Report:
    """Scores predictions that were made elsewhere.

    A question without a prediction is wrong and counted; so are predictions
    without a question counted. Questions that occur twice count twice, where
    the official evaluation merges them.

    Args:
        questions: sequence of `Question`.
        predictions: mapping from the id or the text of a question to the
            predicted answer; the id goes first.

    Returns:
        `Report`, without recall.

    Raises:
        ValueError: if there are no questions.

    Source: google-research/language, `orqa/utils/eval_utils.py`.
    """
    regex_outcomes: Counter[RegexOutcome] = Counter()
    scores = []
    used = set()
    for question in questions:
        key = question.question_id
        if key not in predictions:
            key = question.question
        used.add(key)
        text = predictions.get(key)
        exact_match, f1 = _score_text(question, text, regex_outcomes)
        scores.append(
            QuestionScore(question, text, None, exact_match, f1, None, None)
        )
    return _report(
        scores,
        regex_outcomes,
        ks=[],
        num_extra_predictions=len(predictions.keys() - used),
    )


def read_predictions(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads a predictions file for `evaluate_predictions`.

    Args:
        path: JSON lines `{"prediction", "id"}` or, as in the official form,
            `{"prediction", "question"}`. Lines without a prediction (null) are
            passed over.

    Returns:
        dict from the id, or else the text, of a question to its prediction.

    Raises:
        BadRecordError: if a line is no such record, or a question has two
            different predictions.
    """
    predictions: dict[str, str] = {}
    records = jsonl.read_jsonl(path, parse=_prediction)
    for line, (key, text) in records:
        if text is None:
            continue
        if predictions.setdefault(key, text) != text:
            raise BadRecordError(
                os.fspath(path),
                line,
                "A question must have one prediction. Received: "
                f"{predictions[key]!r} and {text!r} for {key!r}.",
                "Leave one of them out.",
            )
    return predictions


def _prediction(record: dict[str, Any]) -> tuple[str, str | None]:
    key = jsonl.text_field(record, "id" if "id" in record else "question")
    if "prediction" in record and record["prediction"] is None:
        return key, None
    return key, jsonl.text_field(record, "prediction")


def _score(
    question: Question,
    prediction: Prediction,
    regex_outcomes: Counter[RegexOutcome],
) -> QuestionScore:
    exact_match, f1 = _score_text(question, prediction.text, regex_outcomes)
    blocks = prediction.blocks
    return QuestionScore(
        question=question,
        prediction=prediction.text,
        score=float(prediction.score),
        exact_match=exact_match,
        f1=f1,
        answer_rank=recall.first_rank(
            _holds_answer(question, block.text, regex_outcomes)
            for block in blocks
        ),
        block_rank=recall.first_rank(
            block.document_id in question.own_passages for block in blocks
        ),
    )


def _score_text(
    question: Question,
    text: str | None,
    regex_outcomes: Counter[RegexOutcome],
) -> tuple[bool | None, float | None]:
    if not question.answers:
        return None, None
    if text is None:
        return False, None if question.regex else 0.0
    if not question.regex:
        return (
            answers.exact_match(text, question.answers),
            answers.f1(text, question.answers),
        )
    outcomes = match_regexes(question.answers, text)
    regex_outcomes.update(outcomes)
    return RegexOutcome.MATCH in outcomes, None


def _holds_answer(
    question: Question, text: str, regex_outcomes: Counter[RegexOutcome]
) -> bool:
    if not question.regex:
        return recall.contains_answer(text, question.answers)
    outcomes = match_regexes(question.answers, text, anywhere=True)
    # Invalid patterns were counted with the prediction.
    regex_outcomes[RegexOutcome.TIMED_OUT] += outcomes.count(
        RegexOutcome.TIMED_OUT
    )
    return RegexOutcome.MATCH in outcomes


def _possible_cut_offs(ks: Iterable[int], num_blocks: int) -> list[int]:
    ks = list(ks)
    possible = [k for k in ks if k <= num_blocks]
    if possible != ks:
        logger.warning(
            "Recall is reported up to k=%d only: no more blocks came back. "
            "Received: ks=%s.",
            num_blocks,
            ks,
        )
    return possible


def _report(
    scores: Sequence[QuestionScore],
    regex_outcomes: Counter[RegexOutcome],
    *,
    ks: Sequence[int],
    num_extra_predictions: int = 0,
) -> Report:
    if not scores:
        raise ValueError(
            "`questions` must hold at least one question. Received: none."
        )
    f1s = [score.f1 for score in scores if score.f1 is not None]
    answered = [score for score in scores if score.question.answers]
    answer_ranks = [score.answer_rank for score in answered]
    block_ranks = [
        score.block_rank for score in scores if score.question.own_passages
    ]
    has_block_ranks = bool(ks and block_ranks)
    return Report(
        num_questions=len(scores),
        exact_match=(
            sum(bool(score.exact_match) for score in answered) / len(answered)
            if answered
            else None
        ),
        f1=sum(f1s) / len(f1s) if f1s else None,
        answer_recall_at_k=(
            recall.recall_at_k(answer_ranks, ks) if answered else {}
        ),
        num_with_passage=len(block_ranks),
        block_recall_at_k=(
            recall.recall_at_k(block_ranks, ks) if has_block_ranks else {}
        ),
        mean_reciprocal_rank=(
            recall.mean_reciprocal_rank(block_ranks)
            if has_block_ranks
            else None
        ),
        num_without_answers=len(scores) - len(answered),
        num_invalid_regexes=regex_outcomes[RegexOutcome.INVALID],
        num_regex_timeouts=regex_outcomes[RegexOutcome.TIMED_OUT],
        num_missing_predictions=sum(s.prediction is None for s in scores),
        num_extra_predictions=num_extra_predictions,
        scores=tuple(scores),
    )
