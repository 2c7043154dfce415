"""Calibration: the temperature and the threshold of a model's answers."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

TEMPERATURES = tuple((2.0 ** np.linspace(-1, 3, 25)).tolist())
"""What `RealmQA.calibrate` tries: steps of 12%, within which the likelihood
hardly changes."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What makes the probability of an answer mean how often it is right.

    Args:
        temperature: all logits of spans and blocks are divided by it before
            their softmax. 1 changes nothing, more makes answers less sure. No
            answer becomes another one.
        threshold: probability below which there is no answer, see
            `Answer.found`.

    Raises:
        ValueError: if one is out of range.

    Source: Guo et al., 2017, section 4.2 (arXiv:1706.04599).
    """

    temperature: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not self.temperature > 0:
            raise ValueError(
                "`temperature` must be a number above 0. Received: "
                f"temperature={self.temperature!r}."
            )
        check_threshold(self.threshold)

    @classmethod
    def of(
        cls, given: "Calibration | Mapping[str, Any] | None"
    ) -> "Calibration":
        """A calibration, or the one of a preset's settings, if it has one."""
        return given if isinstance(given, Calibration) else cls(**given or {})

    def to_json(self) -> dict[str, float]:
        """The calibration as a JSON object."""
        return dataclasses.asdict(self)


def check_threshold(threshold: Any) -> None:
    """Checks the threshold of an answer.

    Raises:
        ValueError: if it is no probability.
    """
    if not _is_number(threshold) or not 0 <= threshold <= 1:
        raise ValueError(
            "`threshold` must be a probability. Received: "
            f"threshold={threshold!r}."
        )


def best_temperature(
    temperatures: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    is_right: npt.ArrayLike,
) -> int:
    """The temperature that makes right and wrong answers most likely.

    Args:
        temperatures: float `(num_temperatures,)`.
        probabilities: float `(num_temperatures, num_questions)`, of the best
            answer to each question.
        is_right: bool `(num_questions,)`.

    Returns:
        Position of the temperature with the least `log_loss`; of equal ones,
        the one nearest to 1.
    """
    losses = [log_loss(row, is_right) for row in np.asarray(probabilities)]
    distances = np.abs(np.log(temperatures))
    return int(np.lexsort((distances, np.array(losses)))[0])


def log_loss(probabilities: npt.ArrayLike, is_right: npt.ArrayLike) -> float:
    """Negative log likelihood of being right or wrong, in nats per answer.

    -log p of right answers, -log(1 - p) of wrong ones, and their mean. A
    probability is kept within 1e-6 of 0 and 1.

    Example:
    >>> log_loss([0.5, 0.75], [True, False])  # (log 2 + log 4) / 2
    1.0397...
    """
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1 - 1e-6)
    likelihood = np.where(is_right, clipped, 1 - clipped)
    return float(-np.log(likelihood).mean())


def best_threshold(
    probabilities: npt.ArrayLike,
    is_right: npt.ArrayLike,
    is_answerable: npt.ArrayLike,
) -> float:
    """The threshold at which the answers that are given have the best F1.

    Precision is the share of right answers among those given, recall their
    share among the questions that have an answer. Wrong answers cost
    precision whether a question has an answer or not, so a set in which all
    have one still gives a threshold.

    Args:
        probabilities: float `(num_questions,)`, of the best answers.
        is_right: bool `(num_questions,)`.
        is_answerable: bool `(num_questions,)`, the question has an answer.

    Returns:
        Halfway between the least probability that is given and the next;
        0 if all are given, or none is right.

    Example:
    >>> best_threshold([0.9, 0.6, 0.2], [1, 1, 0], [1, 1, 0])
    0.4
    """
    scores = np.asarray(probabilities, np.float64)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    num_right = np.cumsum(np.asarray(is_right, bool)[order])
    num_given = np.arange(1, len(scores) + 1)
    f1 = 2 * num_right / (num_given + np.sum(is_answerable))
    # Equal probabilities are given together.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    last = int(np.argmax(f1))
    if last == len(scores) - 1 or f1[last] <= 0:
        return 0.0
    return float((scores[last] + scores[last + 1]) / 2)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
