import pytest

from realm_tf.training.refresh.waiting import Waiting


class Stop:
    def __init__(self):
        self.slept = []

    def wait(self, seconds):
        self.slept.append(seconds)


def test_each_wait_is_twice_the_one_before_up_to_ten_seconds(exchange):
    stop = Stop()
    waiting = Waiting("it", exchange)
    for _ in range(9):
        waiting.wait(stop)
    assert stop.slept[:3] == [0.1, 0.2, 0.4]
    assert stop.slept[-2:] == [10.0, 10.0]


def test_longest_wait_is_an_option(exchange):
    stop = Stop()
    waiting = Waiting("it", exchange, longest=0.15)
    waiting.wait(stop)
    waiting.wait(stop)
    assert stop.slept == [0.1, 0.15]


def test_waiting_is_logged_and_ends(exchange, caplog):
    waiting = Waiting("an egg", exchange, timeout=0.1, log_every=0.0)
    waiting.wait(Stop())
    assert "Waiting for an egg" in caplog.text
    with pytest.raises(TimeoutError, match="wait for an egg ended"):
        while True:
            waiting.wait()
