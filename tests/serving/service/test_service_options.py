import dataclasses

import pytest

from realm_tf.serving.service.service_options import ServiceOptions, is_loopback

NUMBERS = [
    field.name
    for field in dataclasses.fields(ServiceOptions)
    if field.type in (int, float)
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_numbers_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        ServiceOptions(**{name: value})


@pytest.mark.parametrize("token", ["", "  "])
def test_token_must_not_be_empty(token):
    with pytest.raises(ValueError, match="`token` must not be empty"):
        ServiceOptions(token=token)


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "::", "", "a b"])
def test_other_hosts_are_not_this_machine(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.8.9.1", "[::1]", "LOCALHOST"])
def test_loopback_is_this_machine(host):
    assert is_loopback(host)
