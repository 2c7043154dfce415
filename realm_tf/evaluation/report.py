"""Report: the scores of a question set, overall and question by question."""

import dataclasses
import json
import os
from typing import Any

import numpy as np

from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.confidence import Confidence
from realm_tf.evaluation.recall import Rank


@dataclasses.dataclass(frozen=True)
class QuestionScore:
    """What became of one question.

    Args:
        question: `Question` that was asked.
        prediction: str.
        score: float. The model's own score of its answer.
        found: bool. Whether the prediction was given as the answer.
        exact_match: bool. Whether the prediction is right; None without
            answers.
        f1: float, or None where answers are regular expressions, or missing.
        answer_rank: int or None. Rank of the first block with an answer.
        block_rank: int or None. Rank of the first block of the question's own
            passages.
    """

    question: Question
    prediction: str
    score: float
    found: bool
    exact_match: bool | None
    f1: float | None
    answer_rank: Rank
    block_rank: Rank

    @property
    def is_right(self) -> bool | None:
        """Whether the prediction is right; None if that is not known.

        To a question that has no answer, every prediction is wrong.
        """
        return False if self.question.is_unanswerable else self.exact_match

    def to_json(self) -> dict[str, Any]:
        """The score as a JSON object."""
        return {
            "id": self.question.question_id,
            "question": self.question.question,
            "prediction": self.prediction,
            "answers": list(self.question.answers),
            "exact_match": self.exact_match,
            "f1": self.f1,
            "score": self.score,
            "found": self.found,
            "answer_rank": self.answer_rank,
            "block_rank": self.block_rank,
        }


@dataclasses.dataclass(frozen=True)
class Report:
    """Scores of a question set. Shares are between 0 and 1.

    Args:
        num_questions: int.
        exact_match: float. Share of right predictions, among the questions
            with answers; None if there are none.
        f1: float. Mean over the questions whose answers are no regular
            expressions; None if there are none.
        answer_recall_at_k: dict from k to the share of questions with an
            answer in the text of the first k blocks (`contains_answer`; for
            regular expressions a match anywhere), among the questions with
            answers. Empty without blocks.
        num_with_passage: int. Questions with known passages; the two measures
            below are over these.
        block_recall_at_k: dict from k to the share of questions with a block
            of one of their own passages among the first k. Empty if no
            passage is known.
        mean_reciprocal_rank: float or None. Of the first block of the
            question's own passages, among the blocks that were returned.
        num_without_answers: int. Questions of which only passages are known.
        num_unanswerable: int. Questions that have no answer. None of the
            measures above is over these.
        num_invalid_regexes: int. Answers that are no valid expressions; they
            match nothing.
        num_regex_timeouts: int. Searches that were given up; they count as no
            match.
        scores: tuple of `QuestionScore`, in the order of the questions.
    """

    num_questions: int
    exact_match: float | None
    f1: float | None
    answer_recall_at_k: dict[int, float]
    num_with_passage: int
    block_recall_at_k: dict[int, float]
    mean_reciprocal_rank: float | None
    num_without_answers: int
    num_unanswerable: int
    num_invalid_regexes: int
    num_regex_timeouts: int
    scores: tuple[QuestionScore, ...] = dataclasses.field(repr=False)

    @property
    def confidence(self) -> Confidence | None:
        """How sure the answers are, and how often they are right.

        Over all questions but those of which only passages are known. None if
        there are no others, or if scores are no probabilities.
        """
        judged = [s for s in self.scores if s.is_right is not None]
        if not judged or not all(0 <= s.score <= 1 for s in judged):
            return None
        return Confidence(
            np.array([s.score for s in judged]),
            np.array([bool(s.is_right) for s in judged]),
            np.array([not s.question.is_unanswerable for s in judged]),
            np.array([s.found for s in judged]),
        )

    def to_json(self) -> dict[str, Any]:
        """The overall scores as a flat JSON object."""
        flat: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                name = field.name.removesuffix("_k")
                flat |= {f"{name}_{k}": share for k, share in value.items()}
            elif field.name != "scores":
                flat[field.name] = value
        return flat | (self.confidence.to_json() if self.confidence else {})

    def write_scores(self, path: str | os.PathLike[str]) -> None:
        """Writes one JSON line for each question."""
        with open(path, "w", encoding="utf-8") as file:
            for score in self.scores:
                line = json.dumps(score.to_json(), ensure_ascii=False)
                file.write(line + "\n")
