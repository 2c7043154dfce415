import contextlib
import time

import pytest

from realm_tf.serving.backends.call_limit import CallLimit


def soon():
    return time.monotonic() + 0.01


def test_calls_beyond_the_limit_wait():
    limit = CallLimit(2)
    with limit.slot(soon()), limit.slot(soon()):
        with pytest.raises(TimeoutError), limit.slot(soon()):
            pass
    with limit.slot(soon()):
        pass


def test_refusals_halve_the_limit_and_answers_raise_it():
    limit = CallLimit(8)
    with contextlib.ExitStack() as calls:
        for _ in range(8):
            calls.enter_context(limit.slot(soon()))
        for _ in range(5):  # refused together
            limit.lower()
        assert limit.limit == 4
    with limit.slot(soon()):
        limit.lower()
        limit.lower()
    assert limit.limit == 1
    for _ in range(32 * 20):
        limit.count_answer()
    assert limit.limit == 8
