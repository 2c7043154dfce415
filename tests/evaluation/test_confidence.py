import math

import numpy as np
import pytest

from realm_tf.evaluation.confidence import Confidence


def make(probabilities, is_right, is_answerable=None, threshold=0.0):
    probabilities = np.array(probabilities, float)
    if is_answerable is None:
        is_answerable = [True] * len(probabilities)
    return Confidence(
        probabilities,
        np.array(is_right, bool),
        np.array(is_answerable, bool),
        probabilities >= threshold,
    )


def test_expected_calibration_error_is_the_weighted_gap_of_the_bins():
    # 15 bins of 1/15: .91 and .92 share one, .5 has one of its own.
    confidence = make([0.91, 0.92, 0.5], [True, False, True])
    expected = 2 / 3 * abs(0.915 - 1 / 2) + 1 / 3 * abs(0.5 - 1)
    assert confidence.expected_calibration_error == pytest.approx(expected)


def test_calibrated_answers_have_no_error():
    confidence = make([0.75] * 4 + [0.25] * 4, [1, 1, 1, 0, 1, 0, 0, 0])
    assert confidence.expected_calibration_error == 0.0


def test_reliability_has_a_row_for_each_bin():
    low, high = make([0.1, 0.3, 0.5, 1.0], [0, 1, 0, 1]).reliability(2)
    # A probability on an edge is in the lower bin.
    assert (low.lower, low.upper, low.num_answers) == (0.0, 0.5, 3)
    assert low.probability == pytest.approx(0.3)
    assert low.share_right == pytest.approx(1 / 3)
    assert (high.num_answers, high.probability, high.share_right) == (1, 1, 1)


def test_empty_bins_have_no_means():
    first, *_, last = make([0.0], [False]).reliability()
    assert (first.num_answers, last.num_answers) == (1, 0)
    assert (last.probability, last.share_right) == (None, None)


def test_calibration_is_judged_where_there_is_an_answer():
    answerable = np.array([True, True, False])
    confidence = make([0.5, 0.5, 0.9], [True, False, False], answerable)
    alone = make([0.5, 0.5], [True, False])
    for name in ("expected_calibration_error", "negative_log_likelihood"):
        assert getattr(confidence, name) == getattr(alone, name)
        assert getattr(make([0.9], [False], [False]), name) is None
    assert sum(b.num_answers for b in confidence.reliability()) == 2


def test_negative_log_likelihood():
    likelihood = make([0.5, 0.75], [True, False]).negative_log_likelihood
    assert likelihood == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_answerability_auroc_counts_pairs_in_order():
    # With an answer: .9, .4. Without: .4, .1. Of four pairs three are in
    # order, and one is a tie.
    confidence = make([0.9, 0.4, 0.4, 0.1], [1, 0, 0, 0], [1, 1, 0, 0])
    assert confidence.answerability_auroc == 3.5 / 4


def test_answerability_f1_is_that_of_the_answers_given():
    # Given: .9, .6, .4; two of them have an answer, as has .1.
    confidence = make(
        [0.9, 0.6, 0.4, 0.1], [1, 0, 0, 0], [1, 0, 1, 1], threshold=0.3
    )
    assert confidence.answerability_f1 == 2 * 2 / (3 + 3)


@pytest.mark.parametrize("is_answerable", [True, False])
def test_answerability_takes_questions_of_both_kinds(is_answerable):
    confidence = make([0.5, 0.6], [0, 0], [is_answerable] * 2)
    assert confidence.answerability_auroc is None
    assert confidence.answerability_f1 is None


def test_coverage_and_risk_are_those_of_the_threshold():
    confidence = make([0.9, 0.6, 0.4, 0.1], [1, 0, 0, 1], threshold=0.3)
    assert (confidence.coverage, confidence.risk) == (3 / 4, 1 - 1 / 3)
    assert make([0.1], [1], threshold=0.3).risk is None


def test_risk_falls_with_coverage_where_the_surest_are_right():
    confidence = make(np.arange(10, 0, -1) / 10, [1] * 6 + [0] * 4)
    points = confidence.risk_coverage()
    assert [point[0] for point in points] == [n / 10 for n in range(1, 11)]
    assert points[5] == (0.6, 0.0, 0.5)
    assert points[-1] == (1.0, 0.4, 0.1)


def test_figures_are_those_of_the_properties():
    figures = make([0.5], [True]).to_json()
    assert figures == {
        "expected_calibration_error": 0.5,
        "negative_log_likelihood": pytest.approx(math.log(2)),
        "coverage": 1.0,
        "risk": 0.0,
        "answerability_f1": None,
        "answerability_auroc": None,
    }
