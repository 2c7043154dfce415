"""ConnectionWatch: closes connections that wait for their client."""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from realm_tf.options import ServiceOptions


class ListeningSocket(socket.socket):
    """A socket that tells of each connection it accepts."""

    on_accept: Callable[[socket.socket, Any], None] | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if self.on_accept is not None:
            self.on_accept(connection, address)
        return connection, address


class ConnectionWatch:
    """ASGI middleware: bounds how many connections wait, and how long.

    A connection waits for its client from the start to the end of a request,
    and after the reply. If there are too many connections, the one that has
    waited longest is closed, so clients that send nothing keep nobody out.
    Requests that are being answered are left alone.

    Belongs to one event loop.

    Args:
        app: the ASGI application.
        options: `ServiceOptions`.
        max_connections: in place of that of `options`.
    """

    def __init__(self, app: Any, options: ServiceOptions, max_connections: int):
        self.app = app
        self._options = options
        self._most = max_connections
        self._open: dict[Any, socket.socket] = {}  # by the client's address
        self._deadlines: dict[Any, float] = {}  # of those that wait, in order

    @property
    def num_open(self) -> int:
        """Connections that are not closed."""
        return sum(each.fileno() >= 0 for each in self._open.values())

    def accepted(self, connection: socket.socket, address: Any) -> None:
        """Counts a new connection, and makes room for it."""
        if len(self._open) >= self._most:
            self._forget_closed()
        while len(self._open) >= self._most and self._deadlines:
            self._close(next(iter(self._deadlines)))
        self._open[address[:2]] = connection
        self._wait(address[:2], self._options.head_timeout)

    async def close_late(self) -> None:
        """Closes connections that have waited too long."""
        self._forget_closed()
        now = time.monotonic()
        late = [key for key, end in self._deadlines.items() if end < now]
        for key in late:
            self._close(key)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["client"]:
            await self.app(scope, receive, send)
            return
        key = tuple(scope["client"])
        options = self._options
        # `RequestGuard` gives up a late body, with a reply.
        self._wait(key, options.body_timeout + options.head_timeout)

        async def receive_all() -> Any:
            message = await receive()
            if not message.get("more_body"):
                self._deadlines.pop(key, None)
            return message

        try:
            await self.app(scope, receive_all, send)
        finally:
            self._wait(key, options.keep_alive_timeout + options.head_timeout)

    def _wait(self, key: Any, seconds: float) -> None:
        self._deadlines.pop(key, None)  # to the end of the order
        if key in self._open:
            self._deadlines[key] = time.monotonic() + seconds

    def _close(self, key: Any) -> None:
        del self._deadlines[key]
        # The server sees the end, and closes its side.
        with contextlib.suppress(OSError):
            self._open.pop(key).shutdown(socket.SHUT_RDWR)

    def _forget_closed(self) -> None:
        closed = [k for k, each in self._open.items() if each.fileno() < 0]
        for key in closed:
            del self._open[key]
            self._deadlines.pop(key, None)
