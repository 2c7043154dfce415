"""ServiceOptions: limits and time-outs of the query service."""

import dataclasses
import ipaddress


@dataclasses.dataclass(frozen=True)
class ServiceOptions:
    """What the query service allows, and for how long it waits.

    Args:
        max_body_bytes: of a request.
        max_question_bytes: UTF-8 of one question; longer ones get 413. Those
            within it that are longer than the model reads are cut, and
            `truncated` tells.
        max_questions: in one request.
        max_documents: in one request.
        max_top_k: blocks retrieved for a question.
        max_requests: answered at once; more get 503.
        max_buffered_bytes: bodies in memory, of all requests together; large
            ones beyond get 503.
        max_connections: open at once; for one more, the one that is idle for
            longest is closed, or the new one if none is.
        max_batch_size: questions in one call of a model.
        header_timeout: seconds a client has for the head of a request, and
            an idle connection lives.
        body_timeout: seconds a client has to send its body, and to read its
            reply.
        request_timeout: seconds until an unanswered request gets 503.
        stop_timeout: seconds that requests in flight have after SIGTERM.
        watch_interval: seconds between looks for a new index version.
        failures_to_open: calls in a row that fail before the models are left
            alone for a while.
        token: what writes must carry as a bearer token; space around it does
            not count.
        is_local: the service can be reached from this machine only.

    Raises:
        ValueError: if a number is not positive, or the token is empty.
    """

    max_body_bytes: int = 8 * 2**20
    max_question_bytes: int = 8 * 2**10
    max_questions: int = 64
    max_documents: int = 256
    max_top_k: int = 100
    max_requests: int = 256
    max_buffered_bytes: int = 128 * 2**20
    max_connections: int = 1024
    max_batch_size: int = 16
    header_timeout: float = 10.0
    body_timeout: float = 20.0
    request_timeout: float = 30.0
    stop_timeout: float = 20.0
    watch_interval: float = 2.0
    failures_to_open: int = 5
    token: str | None = None
    is_local: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float) and not value > 0:
                raise ValueError(
                    f"`{field.name}` must be positive. Received: "
                    f"{field.name}={value!r}."
                )
        if self.token is None:
            return
        object.__setattr__(self, "token", self.token.strip())
        if not self.token:
            raise ValueError(
                "`token` must not be empty. Received: token=''. Leave it out "
                "to allow no writes, or only local ones."
            )


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
