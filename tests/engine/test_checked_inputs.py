import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine.checked_inputs import checked


def test_checked_returns_what_fits_together():
    a, b = tf.constant(["x", "y"]), tf.zeros([2, 3])
    for got, want in zip(checked(a=(a, 1), b=(b, 2)), (a, b), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("shapes", "ranks"),
    [(([], []), (1, 1)), (([2], [3]), (1, 1)), (([2], [3, 2]), (1, 2))],
)
def test_checked_refuses_what_does_not(shapes, ranks):
    a, b = (tf.zeros(shape) for shape in shapes)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        checked(a=(a, ranks[0]), b=(b, ranks[1]))
