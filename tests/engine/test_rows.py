import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine.rows import checked, each_row, trimmed_length
from realm_tf.engine.text_embedder import trim


def test_each_row_computes_one_after_the_other():
    rows = [tf.constant([1.0, 2.0]), tf.constant([10.0, 20.0])]
    spec = {"sum": tf.TensorSpec([], tf.float32)}
    found = each_row(lambda a, b: {"sum": a + b}, rows, spec)
    assert found["sum"].numpy().tolist() == [11.0, 22.0]
    none = each_row(lambda a, b: {"sum": a + b}, [r[:0] for r in rows], spec)
    assert none["sum"].shape == (0,)


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


@pytest.mark.parametrize("used", [[], [0], [1], [16, 3], [17], [60, 61]])
@pytest.mark.parametrize("bucket", [16, 32])
def test_length_is_that_of_trim(used, bucket):
    mask = np.zeros((len(used), 61), np.int32)
    for row, count in zip(mask, used, strict=True):
        row[:count] = 1
    want = trim({"padding_mask": mask}, bucket)["padding_mask"].shape[1]
    assert int(trimmed_length(tf.constant(mask), bucket)) == want
