import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine.checked_inputs import checked


def test_checked_returns_what_fits_together():
    a, b = tf.constant(["x", "y"]), tf.zeros([2, 3])
    for got, want in zip(checked(a=(a, 1), b=(b, 2)), (a, b), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("shapes", "ranks", "message"),
    [
        (([], []), (1, 1), "not compatible"),
        (([2], [3]), (1, 1), "`a` and `b` .* number of rows"),
        (([2], [3, 2]), (1, 2), "`a` and `b` .* number of rows"),
        (([2, 4], [2, 5]), (2, 2), "`a` and `b` .* number of blocks"),
    ],
)
def test_checked_refuses_what_does_not(shapes, ranks, message):
    a, b = (tf.zeros(shape) for shape in shapes)
    errors = (ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(errors, match=message):
        checked(a=(a, ranks[0]), b=(b, ranks[1]))
