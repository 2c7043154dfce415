import dataclasses

import pytest

from realm_tf.options import ServiceOptions

NUMBERS = [
    field.name
    for field in dataclasses.fields(ServiceOptions)
    if field.type in (int, float)
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_numbers_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a"):
        ServiceOptions(**{name: value})


@pytest.mark.parametrize("token", ["", "  "])
def test_token_must_not_be_empty(token):
    with pytest.raises(ValueError, match="`token` must not be empty"):
        ServiceOptions(token=token)
