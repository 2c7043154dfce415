import pytest
import tensorflow as tf

from realm_tf.engine.padded_backbone import PaddedBackbone, _next_power_of_two


@pytest.mark.parametrize(
    ("number", "power"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128)]
)
def test_rows_are_padded_to_a_power_of_two(number, power):
    assert int(_next_power_of_two(tf.constant(number))) == power


def test_it_computes_with_the_weights_as_they_are():
    # Its states are compared in test_packed_backbone.py.
    assert PaddedBackbone.refresh(None) is None
