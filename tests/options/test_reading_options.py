import pytest

from realm_tf.options import ReadingOptions


@pytest.mark.parametrize("name", ["batch_size", "num_retrieved", "num_read"])
def test_bad_options_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of 1"):
        ReadingOptions(**{name: 0})
