"""ModelProbe: asks models that nobody else has asked lately."""

import asyncio
import concurrent.futures
from collections.abc import Mapping

from realm_tf.errors import (
    BackendError,
    BackendFullError,
    ServiceUnavailableError,
)
from realm_tf.serving.backends.backend import Backend
from realm_tf.serving.bundle import QUERY_EMBEDDER, READER
from realm_tf.serving.service.circuit_breaker import CircuitBreaker

_SECONDS_UNPROVEN = 2.0  # without an answer, after which models are probed
_PROBE_SECONDS = 15.0  # for a model, busy perhaps, to answer a probe


class ModelProbe:
    """Probes embedder and reader, whatever their breakers say.

    So a server that nobody asks is missed when it dies, and used soon after
    its return. Belongs to one event loop.

    Args:
        breakers: name of a model -> `CircuitBreaker` around it; closed when
            the models answer.
        executor: threads.
    """

    def __init__(
        self,
        breakers: Mapping[str, CircuitBreaker],
        executor: concurrent.futures.Executor,
    ):
        self._breakers = [breakers[name] for name in (QUERY_EMBEDDER, READER)]
        self._executor = executor
        self._running: asyncio.Future[None] | None = None

    async def run(self, backend: Backend, num_read: int) -> None:
        """Probes the models, unless they have answered in the last seconds.

        Args:
            backend: `Backend`.
            num_read: see `Backend.probe`.

        Raises:
            ServiceUnavailableError: if a model does not answer.
        """
        if self._is_proven():
            return
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(
                self._executor, backend.probe, num_read
            )
        try:
            await asyncio.wait_for(
                asyncio.shield(self._running), _PROBE_SECONDS
            )
        except BackendFullError:
            pass  # it answers others
        except (BackendError, TimeoutError) as error:
            if self._is_proven():
                return  # it answers others
            raise ServiceUnavailableError(
                str(error) or "The models do not answer."
            ) from error
        finally:
            if self._running.done():
                self._running = None
        for breaker in self._breakers:
            breaker.close()

    def _is_proven(self) -> bool:
        idle = max(breaker.idle_seconds for breaker in self._breakers)
        return idle < _SECONDS_UNPROVEN
