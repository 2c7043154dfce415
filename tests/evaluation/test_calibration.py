import math

import numpy as np
import pytest

from realm_tf.evaluation.calibration import (
    TEMPERATURES,
    Calibration,
    best_temperature,
    best_threshold,
    check_threshold,
    log_loss,
)


def test_no_calibration_changes_nothing():
    assert Calibration.of(None) == Calibration(1.0, 0.0)
    assert 1.0 in TEMPERATURES


def test_json_round_trip():
    calibration = Calibration(1.5, 0.25)
    assert Calibration.of(calibration.to_json()) == calibration
    assert Calibration.of(calibration) is calibration


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "1", True])
def test_temperature_must_be_above_zero(value):
    with pytest.raises(ValueError, match="`temperature` must be a number"):
        Calibration(temperature=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", True, None])
def test_threshold_must_be_a_probability(value):
    with pytest.raises(ValueError, match="`threshold` must be a probability"):
        Calibration(threshold=value)


def test_numbers_of_numpy_are_thresholds():
    check_threshold(np.float32(0.5))


def test_log_loss_is_the_mean_over_right_and_wrong_answers():
    loss = log_loss([0.5, 0.75, 0.2], [True, False, True])
    assert loss == pytest.approx((math.log(2) + math.log(4) + math.log(5)) / 3)


def test_log_loss_of_certain_wrong_answers_is_finite():
    assert log_loss([1.0, 0.0], [False, True]) == pytest.approx(-math.log(1e-6))


def test_best_temperature_has_the_least_loss():
    # Half of the answers are right: .5 is as sure as they may be.
    probabilities = [[0.9, 0.9], [0.5, 0.5], [0.3, 0.3]]
    at = [1.0, 2.0, 4.0]
    assert best_temperature(at, probabilities, [True, False]) == 1


def test_best_temperature_is_the_one_nearest_to_1_of_equal_ones():
    assert best_temperature([0.5, 1.25, 2.0], [[0.5]] * 3, [True]) == 1


def test_best_threshold_has_the_best_f1():
    # Given the best n of 5, of which 4 questions have an answer:
    # n = 1: 2 * 1 / (1 + 4) = .4       n = 2: 2 * 2 / (2 + 4) = .67
    # n = 3: 2 * 2 / (3 + 4) = .57      n = 4: 2 * 3 / (4 + 4) = .75
    # n = 5: 2 * 3 / (5 + 4) = .67
    probabilities = [0.2, 0.8, 0.9, 0.4, 0.6]
    is_right = [False, True, True, True, False]
    is_answerable = [True, True, True, True, False]
    threshold = best_threshold(probabilities, is_right, is_answerable)
    assert threshold == pytest.approx(0.3)


def test_equal_probabilities_are_given_together():
    # Without the tie, only the first would be given.
    threshold = best_threshold([0.5, 0.5, 0.1], [1, 0, 0], [1, 0, 0])
    assert threshold == pytest.approx(0.3)


@pytest.mark.parametrize("is_right", [[1, 1], [0, 0]])
def test_threshold_is_0_where_all_or_none_are_right(is_right):
    assert best_threshold([0.9, 0.1], is_right, [1, 1]) == 0.0
