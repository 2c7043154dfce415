"""ServiceOptions: limits and time-outs of the query service."""

import dataclasses
import urllib.parse

from realm_tf.options.field_rules import check_fields


@dataclasses.dataclass(frozen=True)
class ServiceOptions:
    """What the query service allows, and for how long it waits.

    Args:
        max_body_bytes: largest body of a request, in bytes.
        max_question_bytes: longest question, in bytes of UTF-8; a longer one
            gets 413. A question that is longer than the model reads is cut,
            and its answer has `truncated`.
        max_questions: questions in one request.
        max_documents: documents in one request.
        max_top_k: blocks retrieved for a question.
        max_requests: requests in progress; one more gets 503.
        max_buffered_bytes: bytes of all request bodies in memory; a large body
            beyond gets 503.
        max_connections: open connections; one more closes the one that has
            waited longest for its client. Fewer, if the system allows only
            fewer open files.
        max_batch_size: questions in one call of a model.
        keep_alive_timeout: seconds, rounded up, after which a connection
            that is idle since its last reply is closed.
        head_timeout: seconds for a client to send the head of a request, or to
            take the rest of a reply beyond `keep_alive_timeout`.
        body_timeout: seconds for a client to send the body of a request.
        request_timeout: seconds until an unanswered request gets 503.
        stop_timeout: seconds to finish requests after SIGTERM.
        watch_interval: seconds between looks for a new index version.
        failures_to_open: failed calls in a row before the models get a pause.
        token: bearer token that writes must carry, see `checked_token`;
            without one, writes are off.
        is_local: the service can be reached from this machine only.
        reader: only read the index, and follow what another service writes.
            Without it, a service waits until no other one is the writer.
        url: address at which clients reach the service. Other services that
            refuse a change name the address of the writer.

    Raises:
        ValueError: if a number is not positive, the token cannot be sent, or
            `url` is none.
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
    keep_alive_timeout: float = 10.0
    head_timeout: float = 10.0
    body_timeout: float = 20.0
    request_timeout: float = 30.0
    stop_timeout: float = 20.0
    watch_interval: float = 2.0
    failures_to_open: int = 5
    token: str | None = None
    is_local: bool = False
    reader: bool = False
    url: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.url is not None:
            parts = urllib.parse.urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(
                    "`url` must be http://HOST:PORT or https://HOST:PORT. "
                    f"Received: url={self.url!r}. Name the address at which "
                    "clients reach the service."
                )
        if self.token is not None:
            object.__setattr__(self, "token", checked_token(self.token))


def checked_token(token: str) -> str:
    """A bearer token without the space around it.

    Raises:
        ValueError: if it is empty, or holds what a header cannot.
    """
    token = token.strip()
    if (
        not (token.isascii() and token.isprintable())
        or " " in token
        or not token
    ):
        raise ValueError(
            "`token` must be of printable ASCII characters, without spaces "
            f"between them. Received: {len(token)} characters that are not. "
            "Make one with `python -c 'import secrets; "
            "print(secrets.token_urlsafe())'`."
        )
    return token
