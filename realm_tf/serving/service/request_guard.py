"""RequestGuard: limits, time-outs and headers around the query service."""

import asyncio
import ipaddress
import itertools
import json
import logging
import re
import urllib.parse
from typing import Any

from realm_tf.data.corpus.jsonl import decode_object
from realm_tf.options import ServiceOptions
from realm_tf.serving.service.service_metrics import ServiceMetrics

logger = logging.getLogger(__name__)

UNLIMITED_PATHS = ("/healthz", "/readyz", "/metrics")
"""Paths that are answered under any load."""

_OTHER = "other"
_MAX_HEAD_BYTES = 16 * 2**10
# Bodies of questions are taken even when documents fill the memory.
_SMALL_BODY_BYTES = 64 * 2**10
# A text, or a sign with which a JSON value begins. No step is ever taken back.
_JSON_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{:,]', re.DOTALL)
_TOKENS_AN_ITEM = 32  # a document has 13
_SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, retry_after: int = 0):
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class RequestGuard:
    """ASGI middleware: passes only small, whole and strict JSON.

    Args:
        app: the ASGI application.
        options: `ServiceOptions`.
        metrics: `ServiceMetrics`.
        paths: those that metrics tell apart.
    """

    def __init__(
        self,
        app: Any,
        options: ServiceOptions,
        metrics: ServiceMetrics,
        paths: frozenset[str],
    ):
        self._app = app
        self._options = options
        self._metrics = metrics
        self._paths = paths
        self._in_flight = 0
        self._buffered = 0  # bytes of bodies

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else _OTHER
        status = 0

        async def send_checked(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *_SECURITY_HEADERS,
                ]
            await send(message)

        try:
            await self._receive(scope, receive, send_checked)
        except _RefusedError as error:
            await _send_error(send_checked, error)
        except asyncio.CancelledError:  # after `stop_timeout`
            if not status:
                stopped = _RefusedError(503, "The service stops.", 1)
                await _send_error(send_checked, stopped)
        except Exception:
            self._metrics.errors.labels("internal").inc()
            logger.exception("A request to %s failed.", path)
            if not status:
                failed = _RefusedError(500, "The service failed. See its log.")
                await _send_error(send_checked, failed)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()

    async def _receive(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        _check_head(scope)
        self._check_host(headers)
        body = bytearray()
        try:
            await self._read_body(headers, receive, body)
            # Slow bodies do not keep others from being answered.
            self._count(+1)
            try:
                await self._pass_on(scope, receive, send, bytes(body))
            finally:
                self._count(-1)
        finally:
            self._buffered -= len(body)

    async def _pass_on(
        self, scope: Any, receive: Any, send: Any, body: bytes
    ) -> None:
        limited = scope["path"] not in UNLIMITED_PATHS
        if limited and self._in_flight > self._options.max_requests:
            raise _RefusedError(503, "Too many requests are in flight.", 1)
        if scope["method"] == "POST":
            self._check_json(dict(scope["headers"]), body)
        sent = False

        async def replay() -> Any:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = scope | {"method": "GET"}
        await self._app(scope, replay, send)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Keeps other sites from reaching a local service by DNS rebinding."""
        if not self._options.is_local:
            return
        host = "//" + headers.get(b"host", b"").decode("latin-1")
        try:
            name = urllib.parse.urlsplit(host).hostname or ""
        except ValueError:
            name = ""
        if not is_loopback(name):
            raise _RefusedError(400, "The host must be this machine.")

    async def _read_body(
        self, headers: dict[bytes, bytes], receive: Any, body: bytearray
    ) -> None:
        most = self._options.max_body_bytes
        too_large = _RefusedError(413, f"A body has at most {most} bytes.")
        if b"content-encoding" in headers:
            raise _RefusedError(400, "A body must not be compressed.")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large
        try:
            async with asyncio.timeout(self._options.body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _RefusedError(400, "The client went away.")
                    part = message.get("body", b"")
                    body += part
                    self._buffered += len(part)
                    if len(body) > most:
                        raise too_large
                    self._check_room(body)
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            raise _RefusedError(
                408, "The body did not arrive in time."
            ) from None

    def _check_room(self, body: bytearray) -> None:
        is_full = self._buffered > self._options.max_buffered_bytes
        if is_full and len(body) > _SMALL_BODY_BYTES:
            raise _RefusedError(503, "Too many large bodies at once.", 1)

    def _check_json(self, headers: dict[bytes, bytes], body: bytes) -> None:
        kind = headers.get(b"content-type", b"").partition(b";")[0]
        if kind.strip().lower() != b"application/json":
            raise _RefusedError(
                400, "The content type must be application/json."
            )
        options = self._options
        # A Python object for each of a million values would take 600 MB.
        most = max(options.max_questions, options.max_documents)
        tokens = _JSON_TOKEN.finditer(body)
        if any(itertools.islice(tokens, most * _TOKENS_AN_ITEM, None)):
            raise _RefusedError(
                413,
                "A body holds too many JSON values. `questions` must hold at "
                f"most {options.max_questions}, `documents` at most "
                f"{options.max_documents}. Send several requests.",
            )
        try:
            decode_object(body)
        except ValueError as error:
            message = str(error).replace("A line", "The body")
            raise _RefusedError(400, message) from error

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._metrics.in_flight.set(self._in_flight)


def _check_head(scope: Any) -> None:
    # uvicorn bounds what is incomplete, not what comes in one piece.
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > _MAX_HEAD_BYTES:
        message = f"Address and headers have at most {_MAX_HEAD_BYTES} bytes."
        raise _RefusedError(400, message)


async def _send_error(send: Any, error: _RefusedError) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"connection", b"close"),
    ]
    if error.retry_after:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    start = {
        "type": "http.response.start",
        "status": error.status,
        "headers": headers,
    }
    await send(start)
    body = json.dumps({"error": str(error)}).encode()
    await send({"type": "http.response.body", "body": body})


def is_loopback(host: str) -> bool:
    """Whether an address or host name means this machine itself.

    Example:
    >>> [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0")]
    [True, True, True, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
