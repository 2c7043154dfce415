import asyncio
import concurrent.futures
import threading

import pytest

from realm_tf.errors import GivenUpError
from realm_tf.serving.service.run_to_the_end import run_to_the_end


@pytest.fixture
def cancel_while_it_runs():
    """Runs a function, cancels its caller twice, and lets it go on."""

    def run(function):
        started, go, given_up = (threading.Event() for _ in range(3))

        def work():
            started.set()
            assert go.wait(60)
            return function(given_up)

        async def main():
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                task = asyncio.create_task(
                    run_to_the_end(executor, work, given_up)
                )
                while not started.is_set():
                    await asyncio.sleep(0)
                for _ in range(2):
                    task.cancel()
                    await asyncio.sleep(0.01)
                    assert not task.done()  # as the work is not
                go.set()
                return await task

        return asyncio.run(main())

    return run


def test_result_is_returned():
    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            return await run_to_the_end(executor, lambda: 7)

    assert asyncio.run(main()) == 7


def test_work_that_is_given_up_is_cancelled(cancel_while_it_runs):
    def give_up(given_up):
        assert given_up.is_set()
        raise GivenUpError("nobody waits")

    with pytest.raises(asyncio.CancelledError):
        cancel_while_it_runs(give_up)


def test_work_that_is_done_late_is_reported_as_done(cancel_while_it_runs):
    assert cancel_while_it_runs(lambda given_up: "done") == "done"


def test_errors_are_passed_on(cancel_while_it_runs):
    def fail(given_up):
        raise KeyError("unknown")

    with pytest.raises(KeyError, match="unknown"):
        cancel_while_it_runs(fail)
