"""Runs the query service in uvicorn."""

import logging
import math
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from realm_tf.options import ServiceOptions
from realm_tf.serving.service.connection_watch import (
    ConnectionWatch,
    ListeningSocket,
)
from realm_tf.serving.service.http_app import build_app

if TYPE_CHECKING:
    from realm_tf.serving.service.query_service import QueryService

logger = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 16 * 2**10
_BACKLOG = 512
_OTHER_FILES = 128  # of the index, of the models, of the threads


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
        listening = ListeningSocket(family, kind, protocol)
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
    """URL of the service: of this machine, if it listens on all addresses."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allowed_connections(options: ServiceOptions) -> int:
    """How many connections the system has files for.

    The limit of open files is raised, as far as may be.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return options.max_connections
    needed = options.max_connections + _BACKLOG + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return options.max_connections
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    allowed = max(1, needed - _BACKLOG - _OTHER_FILES)
    if allowed < options.max_connections:
        logger.warning(
            "At most %d connections are kept open: the system allows %d open "
            "files. Raise `ulimit -n` for more.",
            allowed,
            hard,
        )
    return allowed


def serve(
    service: "QueryService",
    listening: socket.socket,
    *,
    on_start: Callable[["StoppableServer"], None] | None = None,
) -> None:
    """Answers until SIGTERM or SIGINT, then finishes open requests.

    Args:
        service: `QueryService`.
        listening: from `open_socket`.
        on_start: called with the server before it starts.
    """
    options = service.options
    watch = ConnectionWatch(
        build_app(service), options, allowed_connections(options)
    )
    if isinstance(listening, ListeningSocket):
        listening.on_accept = watch.accepted
    config = uvicorn.Config(
        watch,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,  # it would hold what people ask
        server_header=False,
        timeout_keep_alive=math.ceil(options.keep_alive_timeout),
        timeout_graceful_shutdown=math.ceil(options.stop_timeout),
        backlog=_BACKLOG,
        proxy_headers=False,  # they would hide whose connection it is
        callback_notify=watch.close_late,
        timeout_notify=0,  # as often as uvicorn looks: each second
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
