"""RealmClient: asks a query service as one asks a local model."""

import json
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import urllib3

from realm_tf.client.answer_json import answer_from_json, block_from_json
from realm_tf.data.corpus.answer import Answer
from realm_tf.data.corpus.article import ArticleLike, as_article
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.question_texts import check_questions
from realm_tf.errors import (
    NotWriterError,
    ServiceUnavailableError,
    UnknownDocumentError,
)
from realm_tf.options.service_options import checked_token

_AT_ONCE = 32  # questions or documents in a request
_MOST_BYTES = 4 * 2**20  # of the documents; a service takes 8 MiB
_MOST_QUERY_BYTES = 8 * 2**10  # of an address; a service takes 16 KiB of head
_LONGEST_WAIT_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.25


class RealmClient:
    """A query service that `realm-tf serve` started, over HTTP.

    May be used by many threads. Questions and added documents are retried if
    the service is not available; deletions are not, nor are documents without a
    reply in time. `ModelServerClient` asks a model server, over gRPC or REST.

    Args:
        url: "http://HOST:PORT".
        token: bearer token of the service, without which it refuses changes
            of documents and index.
        timeout: seconds for a request; the default is above the 30 that a
            service takes.
        num_retries: tries after the first.

    Raises:
        ValueError: if `url` is not of that form, or `token` cannot be sent.

    Example:
    ```python
    client = RealmClient("http://127.0.0.1:8600", token="...")
    answer = client.ask("Who wrote Emma?")  # `Answer`, as of `RealmQA`
    client.add_documents([{"id": "2", "title": "Emma", "text": "..."}])
    ```
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 40.0,
        num_retries: int = 3,
    ):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "`url` must be http://HOST:PORT of a query service. Received: "
                f"{url!r}. Start one with `realm-tf serve`; for "
                "grpc://HOST:PORT of a model server use `ModelServerClient`."
            )
        self.url = url.rstrip("/")
        self.token = None if token is None else checked_token(token)
        self.timeout = timeout
        self.num_retries = num_retries
        self._pool = urllib3.PoolManager(maxsize=64, retries=False)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answers one question; see `predict`."""
        if not isinstance(question, str):
            raise TypeError(
                "`question` must be a text. Received: "
                f"{type(question).__name__}. Use `predict` for several."
            )
        return self.predict([question], **options)[0]

    def predict(
        self,
        questions: Sequence[str],
        *,
        num_retrieved: int | None = None,
        num_alternatives: int = 4,
        threshold: float | None = None,
    ) -> list[Answer]:
        """Answers questions, each with its evidence; see `RealmQA.predict`.

        Raises:
            TypeError: if `questions` are no texts.
            ValueError: if the service refuses a question or a number.
            ServiceUnavailableError: if it cannot be reached, or gives no
                answer for now.
        """
        answers: list[Answer] = []
        for part in _parts(check_questions(questions)):
            body = {
                "questions": part,
                "top_k": num_retrieved,
                "alternatives": num_alternatives,
                "threshold": threshold,
            }
            reply = self._send("POST", "/v1/ask", body)
            answers += map(answer_from_json, reply["answers"])
        return answers

    def search(
        self, questions: Sequence[str], k: int
    ) -> list[list[tuple[Block, float]]]:
        """The best `k` blocks of each question with their scores."""
        found: list[list[tuple[Block, float]]] = []
        for part in _parts(check_questions(questions)):
            body = {"questions": part, "top_k": k}
            reply = self._send("POST", "/v1/search", body)
            found += [
                [(block_from_json(b), b["score"]) for b in result["blocks"]]
                for result in reply["results"]
            ]
        return found

    def add_documents(self, articles: Iterable[ArticleLike]) -> None:
        """Adds documents, or replaces those that exist.

        They are on the service's disk and can be asked about afterwards. Of
        many, those of earlier requests stay if a later one fails.

        Raises:
            ValueError: if an article has no id or no text.
            NotWriterError: if another service makes the changes; its `writer`
                is the URL of that service.
            PermissionError: if the token is missing or wrong.
            OSError: if the service cannot write its index.
            ServiceUnavailableError: if it cannot be reached, or gives no reply
                in time; the documents may have been added then.
        """
        documents = [
            {"id": a.document_id, "title": a.title, "text": a.text}
            for a in map(as_article, articles)
        ]
        for part in _parts(documents, _json_size, _MOST_BYTES):
            self._send(
                "POST",
                "/v1/documents",
                {"documents": part},
                retry_late=False,
            )

    def delete_documents(self, document_ids: Iterable[str]) -> None:
        """Deletes documents.

        Those whose ids do not fit into one request are deleted in several.

        Raises:
            UnknownDocumentError: a `KeyError`, if one does not exist; then
                none of its request is deleted.
            NotWriterError: see `add_documents`.
            PermissionError: if the token is missing or wrong.
        """
        ids = [urllib.parse.urlencode({"id": i}) for i in document_ids]
        for part in _parts(ids, len, _MOST_QUERY_BYTES, most=len(ids)):
            path = "/v1/documents?" + "&".join(part)
            self._send("DELETE", path, num_retries=0)

    def index_status(self) -> dict[str, Any]:
        """Version, age and counts of the index in use."""
        return self._send("GET", "/v1/index")

    def switch_index(self, roll_back_to: int | None = None) -> dict[str, Any]:
        """Switches to the newest index version, or rolls back to an older.

        Returns:
            See `index_status`.
        """
        body = {"roll_back_to": roll_back_to}
        return self._send("POST", "/v1/index", body, num_retries=0)

    def compact_index(self, *, timeout: float = 3600.0) -> dict[str, Any]:
        """Folds added and deleted documents into a new corpus and version.

        Questions are answered meanwhile; changes of documents wait.

        Args:
            timeout: seconds; as long as copying the corpus and building the
                index takes.

        Returns:
            See `index_status`; its "corpus" is the name of the new corpus.

        Raises:
            PermissionError: if the token is missing or wrong.
            ServiceUnavailableError: if there is no reply in time; the service
                still compacts then.
        """
        return self._send(
            "POST",
            "/v1/index",
            {"compact": True},
            num_retries=0,
            timeout=timeout,
        )

    def is_ready(self) -> bool:
        """Whether the service can answer now."""
        try:
            self._send("GET", "/readyz", num_retries=0)
        except ServiceUnavailableError:
            return False
        return True

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        num_retries: int | None = None,
        retry_late: bool = True,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        retries = self.num_retries if num_retries is None else num_retries
        wait = _FIRST_WAIT_SECONDS
        for retries_left in range(retries, -1, -1):
            try:
                return self._try(method, path, body, timeout or self.timeout)
            except ServiceUnavailableError as error:
                is_late = isinstance(error, _LateError)
                if not retries_left or (is_late and not retry_late):
                    raise
                time.sleep(
                    min(max(wait, error.retry_after), _LONGEST_WAIT_SECONDS)
                )
                wait *= 2
        raise AssertionError

    def _try(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        timeout: float,
    ) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        try:
            reply = self._pool.request(
                method,
                self.url + path,
                body=content,
                headers=headers,
                redirect=False,
                timeout=timeout,
            )
            fields = json.loads(reply.data)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _LateError(
                f"{self.url} did not reply within {timeout:g} s. It may "
                "still carry out the request.",
                0.0,
            ) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ServiceUnavailableError(
                f"No query service replied at {self.url}: {error}. Start one "
                "with `realm-tf serve`.",
                0.0,
            ) from error
        if reply.status == 200:
            return fields
        raise _error(method, reply, fields)


class _LateError(ServiceUnavailableError):
    """There was no reply in time."""


def _error(method: str, reply: Any, fields: dict[str, Any]) -> Exception:
    message = str(fields.get("error") or fields.get("problem"))
    if reply.status == 409 and "writer" in fields:
        return NotWriterError(message, fields["writer"])
    if reply.status in (401, 403):
        return PermissionError(message)
    if reply.status == 404 and method == "DELETE":
        return UnknownDocumentError(message)
    if reply.status == 507:
        return OSError(message)
    if reply.status >= 500:
        wait = reply.headers.get("retry-after", "0")
        return ServiceUnavailableError(message, float(wait))
    return ValueError(message)


def _json_size(document: dict[str, str]) -> int:
    return len(json.dumps(document))


def _parts(
    items: list[Any],
    size: Callable[[Any], int] = lambda _: 0,
    most_bytes: int = _MOST_BYTES,
    most: int = _AT_ONCE,
) -> Iterator[list[Any]]:
    """Cuts a list; a part holds one item, or as many as fit into it."""
    part: list[Any] = []
    total = 0
    for item in items:
        added = size(item) + 2  # and what is between two
        if part and (len(part) == most or total + added > most_bytes):
            yield part
            part, total = [], 0
        part.append(item)
        total += added
    if part:
        yield part
