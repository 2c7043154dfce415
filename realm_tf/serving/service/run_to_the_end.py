"""run_to_the_end: work in a thread that does not outlive its caller."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from realm_tf.errors import GivenUpError

_T = TypeVar("_T")


async def run_to_the_end(
    executor: concurrent.futures.Executor,
    function: Callable[[], _T],
    given_up: threading.Event | None = None,
) -> _T:
    """Runs a change of an index, and returns only after its end.

    So changes never pile up in threads, and one that was made is reported as
    made, however late: a cancelled caller waits for it.

    Args:
        executor: threads.
        function: what to run.
        given_up: set when the caller is cancelled; `function` may look at it
            and raise `GivenUpError`.
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(executor, function)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if given_up is not None:
            given_up.set()
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running.cancelled() or isinstance(running.exception(), GivenUpError):
            raise
        return running.result()
