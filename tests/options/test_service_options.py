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


@pytest.mark.parametrize(
    "token", ["", "  ", "schl\u00fcssel", "a b", "a\x00", "a\nb"]
)
def test_token_must_be_one_that_can_be_sent(token):
    with pytest.raises(ValueError, match="`token` must be of printable ASCII"):
        ServiceOptions(token=token)


def test_space_around_a_token_does_not_count():
    assert ServiceOptions(token=" a-._~+/= \n").token == "a-._~+/="


@pytest.mark.parametrize("url", ["", "host:8600", "http://", "ftp://host"])
def test_address_must_be_one_of_http(url):
    with pytest.raises(ValueError, match="`url` must be http://HOST:PORT"):
        ServiceOptions(url=url)
    assert ServiceOptions(url="https://host/realm").url == "https://host/realm"
