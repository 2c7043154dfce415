import asyncio
import concurrent.futures
import threading

import pytest

from realm_tf.errors import (
    BackendError,
    BackendFullError,
    ServiceUnavailableError,
)
from realm_tf.serving.backends.backend import MODELS
from realm_tf.serving.bundle import READER
from realm_tf.serving.service import model_probe
from realm_tf.serving.service.circuit_breaker import CircuitBreaker
from realm_tf.serving.service.model_probe import ModelProbe


class Probed:
    """What a probe asks; `fault` is called by each probe."""

    def __init__(self, fault=lambda: None):
        self.num_probes = 0
        self.fault = fault

    def probe(self, num_read):
        assert num_read == 3
        self.num_probes += 1
        self.fault()


@pytest.fixture
def breakers():
    return {name: CircuitBreaker(1) for name in MODELS}


@pytest.fixture
def run(breakers):
    """Probes a number of times."""

    def run(probed, times=1):
        async def main():
            with concurrent.futures.ThreadPoolExecutor(2) as executor:
                probe = ModelProbe(breakers, executor)
                for _ in range(times):
                    await probe.run(probed, 3)

        asyncio.run(main())

    return run


def fail(error):
    def fault():
        raise error

    return fault


def test_answer_closes_the_circuit_and_is_enough_for_a_while(run, breakers):
    with pytest.raises(ServiceUnavailableError):
        breakers[READER].call(fail(BackendError("away")))
    assert breakers[READER].is_open
    probed = Probed()
    run(probed, times=3)
    assert probed.num_probes == 1
    assert not breakers[READER].is_open


def test_model_that_does_not_answer_is_told(run):
    with pytest.raises(ServiceUnavailableError, match="away"):
        run(Probed(fail(BackendError("away"))))


def test_full_server_answers_others(run, breakers):
    run(Probed(fail(BackendFullError("full"))))
    assert breakers[READER].idle_seconds < 60


def test_probe_that_hangs_is_told_and_not_repeated(breakers, monkeypatch):
    monkeypatch.setattr(model_probe, "_PROBE_SECONDS", 0.05)
    go = threading.Event()
    probed = Probed(lambda: go.wait(60))

    async def main(executor):
        probe = ModelProbe(breakers, executor)
        for _ in range(3):
            with pytest.raises(ServiceUnavailableError, match="do not answer"):
                await probe.run(probed, 3)
        go.set()

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        asyncio.run(main(executor))
    assert probed.num_probes == 1
