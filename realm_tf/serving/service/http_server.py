"""Runs the query service in uvicorn, with limits that uvicorn lacks."""

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from realm_tf.options import ServiceOptions
from realm_tf.serving.service.http_app import build_app

if TYPE_CHECKING:
    from realm_tf.serving.service.query_service import QueryService

logger = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 16 * 2**10
_BACKLOG = 2048


def open_socket(host: str, port: int) -> socket.socket:
    """Listens on an address; port 0 takes one that is free.

    Args:
        host: name or address, IPv4 or IPv6.
        port: number.

    Raises:
        OSError: if the address is in use or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"{host}:{port} must be a free address of this machine "
            f"({error.strerror}). Choose another with --host and --port",
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    service: "QueryService",
    listening: socket.socket,
    *,
    on_start: Callable[["StoppableServer"], None] | None = None,
) -> None:
    """Answers until SIGTERM or SIGINT, then finishes what is in flight.

    Args:
        service: `QueryService`.
        listening: from `open_socket`.
        on_start: called with the server before it starts.
    """
    options = service.options
    config = uvicorn.Config(
        build_app(service),
        http=_protocol(options),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,  # it would hold what people ask
        server_header=False,
        timeout_keep_alive=math.ceil(options.header_timeout),
        timeout_graceful_shutdown=math.ceil(options.stop_timeout),
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
    )
    server = StoppableServer(config)
    if on_start is not None:
        on_start(server)
    server.run(sockets=[listening])


class StoppableServer(uvicorn.Server):
    """A server that ends well after SIGTERM, and can be stopped by a thread.

    uvicorn raises the signal again once it is done, which would make the exit
    code that of a killed process.
    """

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, lambda *_: None)
        except ValueError:
            pass  # not the main thread: signals are not ours
        try:
            super().run(sockets)
        finally:
            for caught, handler in before.items():
                signal.signal(caught, handler)

    def stop(self) -> None:
        """Asks for the end; may be called by any thread."""
        self.should_exit = True


def _protocol(options: ServiceOptions) -> type[asyncio.Protocol]:
    """HTTP of uvicorn, for clients that may be slow, idle or many."""

    class GuardedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None
        _reply_timer: asyncio.TimerHandle | None = None
        _idle_since = 0.0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._idle_since = self.loop.time()
            if len(self.connections) > options.max_connections:
                self._make_room()
            if not transport.is_closing():
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            if self._reply_timer is not None:
                self._reply_timer.cancel()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._idle_since = self.loop.time()
            super().on_response_complete()
            # uvicorn waits for ever for a client that reads no reply.
            if self._reply_timer is None and self._has_unsent():
                self._reply_timer = self.loop.call_later(
                    options.body_timeout, self._give_up_reply
                )

        def _make_room(self) -> None:
            """Closes the connection that is idle for longest, or this one."""
            idle = [
                other
                for other in self.connections
                if isinstance(other, GuardedProtocol)
                and other is not self
                and not other._is_answering()
                and not other.transport.is_closing()
            ]
            oldest = min(idle, key=lambda c: c._idle_since, default=self)
            oldest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_answering():
                self._stop_waiting()
            elif self._head_timer is None:
                self._wait_for_head()

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait_for_head(self) -> None:
            self._head_timer = self.loop.call_later(
                options.header_timeout, self._give_up
            )

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._head_timer = None
            if not self._is_answering():
                self.transport.abort()

        def _has_unsent(self) -> bool:
            return self.transport.get_write_buffer_size() > 0

        def _give_up_reply(self) -> None:
            self._reply_timer = None
            if self._has_unsent():
                self.transport.abort()

    return GuardedProtocol
