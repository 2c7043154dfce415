import dataclasses

import pytest

from realm_tf.options import InverseClozeOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 1), ("mask_rate", 1.5), ("run_length", 0)],
)
def test_bad_options_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}. Leave it out"):
        InverseClozeOptions(**{name: value})


def test_published_options_are_the_default():
    assert dataclasses.asdict(InverseClozeOptions()) == {
        "batch_size": 4096,
        "mask_rate": 0.9,
        "run_length": None,
        "trim": True,
        "seed": 0,
    }
