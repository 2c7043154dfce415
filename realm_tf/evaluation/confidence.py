"""Confidence: how sure answers are, and how often they are right."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf.evaluation.calibration import log_loss

NUM_BINS = 15
"""Bins of equal width, as in Guo et al. (2017)."""

_COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose probability is in one bin.

    Args:
        lower: least probability of the bin.
        upper: the greatest.
        num_answers: how many are in it.
        probability: their mean probability; None if there are none.
        share_right: share of right ones; None if there are none.
    """

    lower: float
    upper: float
    num_answers: int
    probability: float | None
    share_right: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Confidence:
    """Probabilities of the best answers to questions, judged.

    An answer is right if it is an exact match. To a question that has no
    answer, every answer is wrong.

    Args:
        probabilities: float `(num_questions,)`, between 0 and 1.
        is_right: bool `(num_questions,)`.
        is_answerable: bool `(num_questions,)`, the question has an answer.
        is_found: bool `(num_questions,)`, the answer was given; see
            `Answer.found`.

    Source: Guo et al., 2017 (arXiv:1706.04599) for reliability and expected
    calibration error; El-Yaniv and Wiener, 2010, for risk and coverage.
    """

    probabilities: npt.NDArray[np.float64]
    is_right: npt.NDArray[np.bool_]
    is_answerable: npt.NDArray[np.bool_]
    is_found: npt.NDArray[np.bool_]

    @property
    def expected_calibration_error(self) -> float | None:
        """Mean gap between probability and share of right answers.

        ECE = sum over the bins of their share of all answers, times
        |share of right ones - mean probability|. Of questions that have an
        answer; None if there are none.
        """
        gaps = [
            b.num_answers * abs(b.probability - b.share_right)
            for b in self.reliability()
            if b.probability is not None and b.share_right is not None
        ]
        return sum(gaps) / self._num_answerable if gaps else None

    @property
    def negative_log_likelihood(self) -> float | None:
        """Of right and wrong answers, in nats; see `log_loss`.

        Of questions that have an answer; None if there are none.
        """
        if not self._num_answerable:
            return None
        judged = self.is_answerable
        return log_loss(self.probabilities[judged], self.is_right[judged])

    @property
    def coverage(self) -> float:
        """Share of questions to which an answer was given."""
        return float(self.is_found.mean())

    @property
    def risk(self) -> float | None:
        """Share of wrong answers among those given; None if there are none."""
        if not self.is_found.any():
            return None
        return float(1 - self.is_right[self.is_found].mean())

    @property
    def answerability_f1(self) -> float | None:
        """F1 of "has an answer", which is predicted where one was given.

        None unless there are questions with answers and without.
        """
        if not self._has_both:
            return None
        hits = np.sum(self.is_found & self.is_answerable)
        return float(2 * hits / (self.is_found.sum() + self._num_answerable))

    @property
    def answerability_auroc(self) -> float | None:
        """Area under the ROC curve of the probability for "has an answer".

        The share of pairs of a question with an answer and one without in
        which the first is the surer; a tie is half a pair. None unless there
        are both.
        """
        if not self._has_both:
            return None
        positive = self.probabilities[self.is_answerable]
        negative = np.sort(self.probabilities[~self.is_answerable])
        below = np.searchsorted(negative, positive, "left")
        not_above = np.searchsorted(negative, positive, "right")
        pairs = len(positive) * len(negative)
        return float((below.sum() + not_above.sum()) / (2 * pairs))

    def reliability(self, num_bins: int = NUM_BINS) -> list[ReliabilityBin]:
        """The answers by their probability, in bins of equal width.

        Only those to questions that have an answer: the probability is that
        of an answer among all, given that there is one. Whether there is one
        is decided by the threshold.
        """
        probabilities = self.probabilities[self.is_answerable]
        is_right = self.is_right[self.is_answerable]
        edges = np.linspace(0, 1, num_bins + 1)
        places = np.searchsorted(edges[1:-1], probabilities, "left")
        bins = []
        for place in range(num_bins):
            inside = places == place
            count = int(inside.sum())
            mean, share = (
                float(values[inside].mean()) if count else None
                for values in (probabilities, is_right)
            )
            lower, upper = edges[place : place + 2].tolist()
            bins.append(ReliabilityBin(lower, upper, count, mean, share))
        return bins

    def risk_coverage(self) -> list[tuple[float, float, float]]:
        """Risk where only the surest answers are given.

        Returns:
            (coverage, risk, probability): share of questions that are
            answered, share of wrong answers among these, and the least
            probability that is given; for each tenth of the questions.
        """
        order = np.argsort(-self.probabilities, kind="stable")
        num_wrong = np.cumsum(~self.is_right[order])
        points = []
        for coverage in _COVERAGES:
            given = max(1, round(coverage * len(order)))
            risk = float(num_wrong[given - 1] / given)
            least = float(self.probabilities[order[given - 1]])
            points.append((given / len(order), risk, least))
        return points

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        names = (
            "expected_calibration_error",
            "negative_log_likelihood",
            "coverage",
            "risk",
            "answerability_f1",
            "answerability_auroc",
        )
        return {name: getattr(self, name) for name in names}

    @property
    def _num_answerable(self) -> int:
        return int(self.is_answerable.sum())

    @property
    def _has_both(self) -> bool:
        return 0 < self._num_answerable < len(self.is_answerable)
