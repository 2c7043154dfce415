"""Scores of one predicted answer: exact match and token F1."""

from collections import Counter
from collections.abc import Sequence

from realm_tf.data.text.answer_normalization import normalize_answer
from realm_tf.evaluation import regex_answers


def exact_match(
    prediction: str, answers: Sequence[str], *, regex: bool = False
) -> bool:
    """Tells whether a prediction is one of the answers.

    Both are normalised first: see `normalize_answer`. Two answers that
    normalise to nothing, such as "A" and "The", are equal, as in the official
    evaluation.

    Args:
        prediction: str. The predicted answer.
        answers: sequence of str. Spellings of the answer; one is enough.
        regex: bool. `answers` are regular expressions, matched against the
            raw prediction from its start: see `match_regexes`.

    Returns:
        bool. Whether the prediction is right.

    Raises:
        TypeError: if `answers` is one string.
        ValueError: if `answers` is empty.

    Example:
    >>> exact_match("The U.S.A.", ["USA", "United States"])
    True
    >>> exact_match("July 1969", ["july"], regex=True)
    True

    Source: google-research/language, `orqa/utils/eval_utils.py`.
    """
    _check_answers(answers)
    if regex:
        outcomes = regex_answers.match_regexes(answers, prediction)
        return regex_answers.RegexOutcome.MATCH in outcomes
    normalized = normalize_answer(prediction)
    return any(normalized == normalize_answer(answer) for answer in answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Overlap of prediction and answer in words, the best over the answers.

    F1 = 2 P R / (P + R), where P is the share of the prediction's words that
    the answer holds and R the share of the answer's words that the prediction
    holds. Words are those of `normalize_answer`. If either has no words, F1 is
    1 when both have none, else 0.

    Args:
        prediction: str. The predicted answer.
        answers: sequence of str. Spellings of the answer.

    Returns:
        float between 0 and 1.

    Raises:
        TypeError: if `answers` is one string.
        ValueError: if `answers` is empty.

    Example:
    >>> f1("the novelist Jane Austen", ["Jane Austen"])  # P = 2/3, R = 1
    0.8

    Source: Rajpurkar et al., 2016, section 6.1 (arXiv:1606.05250).
    """
    _check_answers(answers)
    words = normalize_answer(prediction).split()
    return max(_f1(words, normalize_answer(a).split()) for a in answers)


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    # Equal to 2 P R / (P + R), without a division by zero.
    return 2 * common / (len(predicted) + len(gold))


def _check_answers(answers: Sequence[str]) -> None:
    if isinstance(answers, str):
        raise TypeError(
            "`answers` must be a sequence of texts. Received: "
            f"answers={answers!r}. Put it in a list."
        )
    if not answers:
        raise ValueError(
            "`answers` must hold at least one answer. Received: none. Leave "
            "questions without an answer out."
        )
