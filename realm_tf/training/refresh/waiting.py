"""Waiting: for a file of another process."""

import logging
import threading
import time

from realm_tf.training.refresh.exchange import Exchange

logger = logging.getLogger(__name__)

_FIRST_WAIT = 0.1  # seconds; each wait is twice the one before
_LONGEST_WAIT = 10.0
_LOG_EVERY = 60.0


class Waiting:
    """Waits longer and longer, says so now and then, gives up in time.

    Args:
        thing: what is waited for.
        exchange: `Exchange` where it will appear.
        timeout: seconds; None for ever.
        longest: of the waits, in seconds.
        log_every: seconds between warnings.
    """

    def __init__(
        self,
        thing: str,
        exchange: Exchange,
        timeout: float | None = None,
        *,
        longest: float = _LONGEST_WAIT,
        log_every: float | None = None,
    ):
        self.thing = thing
        self.exchange = exchange
        self.timeout = timeout
        self.longest = longest
        self.log_every = _LOG_EVERY if log_every is None else log_every
        self._start = self._logged = time.monotonic()
        self._seconds = _FIRST_WAIT

    def wait(self, stop: threading.Event | None = None) -> None:
        """Waits once, or until `stop`.

        Raises:
            TimeoutError: if it has waited too long by now.
        """
        now = time.monotonic()
        waited = now - self._start
        if self.timeout is not None and waited >= self.timeout:
            raise TimeoutError(
                f"The wait for {self.thing} ended after {waited:.0f} seconds "
                f"in {self.exchange.path}. Start the other process, check the "
                "path, or raise the time."
            )
        if now - self._logged >= self.log_every:
            self._logged = now
            logger.warning(
                "Waiting for %s in %s for %.0f seconds.",
                self.thing,
                self.exchange.path,
                waited,
            )
        (stop or threading.Event()).wait(self._seconds)
        self._seconds = min(2 * self._seconds, self.longest)
