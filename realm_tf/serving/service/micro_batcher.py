"""MicroBatcher: requests that wait during a call share the next call."""

import asyncio
import collections
import concurrent.futures
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any


class MicroBatcher:
    """Calls a function with many items at once, where many are waiting.

    Nothing waits for others to come: a free worker takes what is there. So an
    item alone is not delayed, and batches grow with the load. Belongs to one
    event loop.

    Args:
        function: from a key and a list of items to as many results. Runs in
            `executor`.
        executor: threads.
        max_size: items of a batch.
        num_parallel: batches at once.
    """

    def __init__(
        self,
        function: Callable[[Any, list[Any]], Sequence[Any]],
        executor: concurrent.futures.Executor,
        *,
        max_size: int,
        num_parallel: int,
    ):
        self._function = function
        self._executor = executor
        self._max_size = max_size
        self._num_free = num_parallel
        self._waiting: dict[
            Hashable, collections.deque[tuple[Any, asyncio.Future[Any]]]
        ] = {}

    @property
    def num_waiting(self) -> int:
        """Items that are in no batch yet."""
        return sum(map(len, self._waiting.values()))

    async def submit(self, item: Any, key: Hashable = None) -> Any:
        """Returns the result for one item.

        Args:
            item: one of the items of a batch.
            key: only items of the same key share a batch.
        """
        future = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(key, collections.deque())
        queue.append((item, future))
        self._start()
        return await future

    def _start(self) -> None:
        while self._num_free and self._waiting:
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            batch: list[tuple[Any, asyncio.Future[Any]]] = []
            while queue and len(batch) < self._max_size:
                item, future = queue.popleft()
                if not future.done():  # nobody waits for it any more
                    batch.append((item, future))
            if queue:
                self._waiting[key] = queue  # behind the other keys
            if not batch:
                continue
            self._num_free -= 1
            running = asyncio.get_running_loop().run_in_executor(
                self._executor, self._function, key, [item for item, _ in batch]
            )
            running.add_done_callback(
                functools.partial(self._finish, [future for _, future in batch])
            )

    def _finish(
        self,
        futures: list[asyncio.Future[Any]],
        done: asyncio.Future[Sequence[Any]],
    ) -> None:
        if done.cancelled():  # the threads are being stopped
            for future in futures:
                future.cancel()
            return
        self._num_free += 1
        error = done.exception()
        results = [None] * len(futures) if error else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if error:
                future.set_exception(error)
            else:
                future.set_result(result)
        self._start()
