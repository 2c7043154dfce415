"""CircuitBreaker: leaves a failing model alone for a while."""

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from realm_tf.errors import (
    BackendError,
    BackendFullError,
    ServiceUnavailableError,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class CircuitBreaker:
    """Counts failures in a row; at the limit it lets no call through.

    After a pause one call may try. If it succeeds all is well again, else the
    next pause is twice as long. A model server that is full is no failure.

    Args:
        failures_to_open: the limit.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        failures_to_open: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._limit = failures_to_open
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = _FIRST_PAUSE_SECONDS
        self._closed_until = 0.0
        self._last_success = -float("inf")

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for a try after each pause."""
        return self._failures >= self._limit

    @property
    def idle_seconds(self) -> float:
        """Time since a call succeeded."""
        return self._clock() - self._last_success

    def close(self) -> None:
        """Lets all calls through: the model was seen to answer."""
        with self._lock:
            self._failures, self._pause = 0, _FIRST_PAUSE_SECONDS
            self._last_success = self._clock()

    def call(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Calls `function`.

        Raises:
            ServiceUnavailableError: if the call is refused, or fails with
                `BackendError`.
        """
        self._enter()
        try:
            result = function(*args, **kwargs)
        except BackendFullError as error:
            raise ServiceUnavailableError(str(error)) from error
        except BackendError as error:
            wait = self._count_failure()
            raise ServiceUnavailableError(str(error), wait) from error
        self.close()
        return result

    def _enter(self) -> None:
        with self._lock:
            wait = self._closed_until - self._clock()
            if self.is_open and wait > 0:
                raise ServiceUnavailableError(
                    f"The model failed {self._failures} times in a row and is "
                    "left alone for a moment.",
                    wait,
                )
            if self.is_open:  # this call tries; the others wait for it
                self._closed_until = self._clock() + self._pause

    def _count_failure(self) -> float:
        with self._lock:
            was_open = self.is_open
            self._failures += 1
            if not self.is_open:
                return _FIRST_PAUSE_SECONDS
            if was_open:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._closed_until = self._clock() + self._pause
            return self._pause
