import pytest

from realm_tf.errors import (
    BackendError,
    BackendFullError,
    ServiceUnavailableError,
)
from realm_tf.serving.service.circuit_breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(2, clock)


def fail():
    raise BackendError("away")


def fail_times(breaker, times):
    for _ in range(times):
        with pytest.raises(ServiceUnavailableError, match="away"):
            breaker.call(fail)


def test_result_is_passed_on(breaker):
    assert breaker.call(max, 1, 2) == 2
    assert not breaker.is_open


def test_full_server_is_no_failure(breaker):
    def refuse():
        raise BackendFullError("full")

    for _ in range(5):
        with pytest.raises(ServiceUnavailableError, match="full"):
            breaker.call(refuse)
    assert not breaker.is_open


def test_failures_in_a_row_open_it(breaker):
    fail_times(breaker, 2)
    assert breaker.is_open
    with pytest.raises(ServiceUnavailableError, match="2 times") as caught:
        breaker.call(pytest.fail, "must not be called")
    assert 0 < caught.value.retry_after <= 1


def test_a_success_in_between_keeps_it_closed(breaker):
    fail_times(breaker, 1)
    breaker.call(max, 1, 2)
    fail_times(breaker, 1)
    assert not breaker.is_open


def test_after_a_pause_one_call_tries_and_closes_it(breaker, clock):
    fail_times(breaker, 2)
    clock.now += 1.1

    def inner():
        with pytest.raises(ServiceUnavailableError):
            breaker.call(pytest.fail, "only one may try")
        return "well"

    assert breaker.call(inner) == "well"
    assert not breaker.is_open


def test_pauses_grow_up_to_a_limit(breaker, clock):
    fail_times(breaker, 2)
    waits = []
    for _ in range(7):
        clock.now += 31
        with pytest.raises(ServiceUnavailableError) as caught:
            breaker.call(fail)
        waits.append(caught.value.retry_after)
    assert waits == [2, 4, 8, 16, 30, 30, 30]


def test_other_errors_are_no_failures(breaker):
    for _ in range(3):
        with pytest.raises(KeyError):
            breaker.call({}.__getitem__, "a")
    assert not breaker.is_open
