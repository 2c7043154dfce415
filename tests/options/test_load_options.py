import pytest

from realm_tf.options import LoadOptions


@pytest.mark.parametrize(
    ("name", "value"), [("num_heads", 0), ("dropout", 1.5), ("partial", 1)]
)
def test_bad_options_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}. Leave it out"):
        LoadOptions(**{name: value})


def test_all_may_be_left_to_the_checkpoint():
    assert LoadOptions() == LoadOptions(num_heads=None, dropout=None)
