"""CallLimit: fewer calls at once to a server that says it is full."""

import contextlib
import threading
import time
from collections.abc import Iterator

_CALLS_TO_RAISE = 32  # that were answered, before one more is tried at once


class CallLimit:
    """Lets so many threads through as a server can take.

    Each refusal halves the number, as TCP does with its window; answers raise
    it again, one by one. May be used by many threads.

    Args:
        most: calls at once.
    """

    def __init__(self, most: int):
        self._most = most
        self._limit = most
        self._running = 0
        self._answered = 0
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        """Calls that may be made at once now."""
        return self._limit

    @contextlib.contextmanager
    def slot(self, deadline: float) -> Iterator[None]:
        """Waits until a call may be made, and holds its place.

        Args:
            deadline: of `time.monotonic`.

        Raises:
            TimeoutError: if there is no place until then.
        """
        with self._free:
            if not self._free.wait_for(
                lambda: self._running < self._limit,
                max(deadline - time.monotonic(), 0.0),
            ):
                raise TimeoutError
            self._running += 1
        try:
            yield
        finally:
            with self._free:
                self._running -= 1
                self._free.notify()

    def lower(self) -> None:
        """Counts a refusal."""
        with self._free:
            # Calls that were refused together count once.
            if self._running <= self._limit:
                self._limit = max(1, self._running // 2)
            self._answered = 0

    def count_answer(self) -> None:
        """Counts an answer."""
        with self._free:
            self._answered += 1
            if self._answered >= _CALLS_TO_RAISE and self._limit < self._most:
                self._limit += 1
                self._answered = 0
                self._free.notify()
