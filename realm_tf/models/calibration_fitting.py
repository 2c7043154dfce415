"""Fits the calibration of a model to questions with known answers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from realm_tf._progress import Progress
from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.calibration import (
    TEMPERATURES,
    Calibration,
    best_temperature,
    best_threshold,
)
from realm_tf.evaluation.confidence import Confidence
from realm_tf.evaluation.exact_match import exact_match
from realm_tf.models.question_answerer import QuestionAnswerer


@dataclasses.dataclass(frozen=True)
class CalibrationReport:
    """What `RealmQA.calibrate` chose, and what it changes.

    Args:
        calibration: `Calibration`, which the model has now.
        before: `Confidence` without calibration.
        after: `Confidence` with it, on the same questions; on others the
            error is a little larger.
        num_left_out: int. Questions of which only passages are known.
    """

    calibration: Calibration
    before: Confidence
    after: Confidence
    num_left_out: int

    def to_json(self) -> dict[str, Any]:
        """The report as a flat JSON object."""
        is_answerable = self.after.is_answerable
        figures = {
            f"{name}_{when}": value
            for when in ("before", "after")
            for name, value in getattr(self, when).to_json().items()
        }
        return {
            **self.calibration.to_json(),
            "num_questions": len(is_answerable),
            "num_unanswerable": int(np.sum(~is_answerable)),
            "num_left_out": self.num_left_out,
            **figures,
        }


def fit_calibration(
    qa: QuestionAnswerer,
    questions: Sequence[Question],
    *,
    num_read: int,
    batch_size: int,
    progress: Progress,
) -> CalibrationReport:
    """Chooses temperature and threshold; see `RealmQA.calibrate`.

    Each question is read once. All temperatures are applied to its spans.
    """
    judged = [q for q in questions if q.answers or q.is_unanswerable]
    if qa.official or not any(q.answers for q in judged):
        raise ValueError(
            "Calibration must have questions with answers, and a model that "
            "does not answer as the ORQA code does. Received: "
            f"{len(judged)} of {len(questions)} questions with known answers "
            f"or none, official={qa.official}."
        )
    probabilities: list[np.ndarray] = []
    is_right: list[bool] = []
    for start in range(0, len(judged), batch_size):
        batch = judged[start : start + batch_size]
        evidence = qa.retrieve([q.question for q in batch], num_read)
        texts, found = qa.local_engine.best_by_temperature(evidence, num_read)
        probabilities.append(found.astype(np.float64))
        is_right += map(_is_right, batch, texts)
        progress("questions", start + len(batch), len(judged), {})
    return _report(
        np.concatenate(probabilities, axis=1),
        np.array(is_right),
        np.array([not q.is_unanswerable for q in judged]),
        num_left_out=len(questions) - len(judged),
    )


def _is_right(question: Question, text: str) -> bool:
    return not question.is_unanswerable and exact_match(
        text, question.answers, regex=question.regex
    )


def _report(
    probabilities: np.ndarray,
    is_right: np.ndarray,
    is_answerable: np.ndarray,
    num_left_out: int,
) -> CalibrationReport:
    chosen = best_temperature(
        TEMPERATURES, probabilities[:, is_answerable], is_right[is_answerable]
    )
    calibration = Calibration(
        temperature=TEMPERATURES[chosen],
        threshold=best_threshold(
            probabilities[chosen], is_right, is_answerable
        ),
    )

    def confidence(row: int, threshold: float) -> Confidence:
        return Confidence(
            probabilities[row],
            is_right,
            is_answerable,
            probabilities[row] >= threshold,
        )

    return CalibrationReport(
        calibration,
        before=confidence(TEMPERATURES.index(1.0), 0.0),
        after=confidence(chosen, calibration.threshold),
        num_left_out=num_left_out,
    )
