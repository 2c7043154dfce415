import pytest

from realm_tf.options import TaggerOptions


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch_size", 0), ("seed", -1)]
)
def test_bad_options_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}. Leave it out"):
        TaggerOptions(**{name: value})
