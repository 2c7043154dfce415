"""A question set and something that answers, to a report."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from realm_tf.data.questions.questions import Question
from realm_tf.evaluation import exact_match as answers
from realm_tf.evaluation import recall
from realm_tf.evaluation.regex_answers import RegexOutcome, match_regexes
from realm_tf.evaluation.report import QuestionScore, Report

logger = logging.getLogger(__name__)


class EvidenceBlock(Protocol):
    """The attributes of `Block` that evaluation uses."""

    @property
    def text(self) -> str: ...

    @property
    def document_id(self) -> str: ...


class Prediction(Protocol):
    """The attributes of `Answer` that evaluation uses."""

    @property
    def text(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def found(self) -> bool: ...

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
            `RealmQA.predict`. A prediction has the answer's `text`, `score`
            and whether it is `found`, and as evidence `blocks` with `text` and
            `document_id`, best first.
        questions: sequence of `Question`.
        ks: iterable of int. Cut-offs of recall. Those beyond the number of
            retrieved blocks are skipped.
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
        found=bool(prediction.found),
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
    text: str,
    regex_outcomes: Counter[RegexOutcome],
) -> tuple[bool | None, float | None]:
    if not question.answers:
        return None, None
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
            "Recall is reported up to k=%d, the number of retrieved blocks. "
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
    num_unanswerable = sum(s.question.is_unanswerable for s in scores)
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
        num_without_answers=len(scores) - len(answered) - num_unanswerable,
        num_unanswerable=num_unanswerable,
        num_invalid_regexes=regex_outcomes[RegexOutcome.INVALID],
        num_regex_timeouts=regex_outcomes[RegexOutcome.TIMED_OUT],
        scores=tuple(scores),
    )
