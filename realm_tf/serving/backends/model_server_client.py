"""ModelServerClient: asks the exported `realm_qa` of a model server."""

import urllib.parse
from collections.abc import Sequence
from typing import Any

from realm_tf.data.corpus.answer import Answer, Span
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.question_texts import check_questions
from realm_tf.errors import BackendError
from realm_tf.serving.backends.backend import (
    Backend,
    encoded,
    threshold_of,
)
from realm_tf.serving.backends.grpc_backend import GrpcBackend
from realm_tf.serving.backends.rest_backend import RestBackend
from realm_tf.serving.bundle import QA

_SIGNATURE = "serving_default"
_FIELDS = (
    "text",
    "byte_start",
    "byte_end",
    "retrieval_probability",
    "reading_probability",
    "probability",
    "block_id",
    "block_title",
    "block_text",
)


class ModelServerClient:
    """Answers questions with nothing but TensorFlow Serving and `realm_qa`.

    That model holds the whole corpus, so there is no query service between,
    and nothing can be added. Its answers come with the blocks they stand in,
    not with all that were retrieved. May be used by many threads.

    Args:
        url: "grpc://HOST:PORT" or "http://HOST:PORT" of the model server.
        timeout: seconds for a request.
        num_retries: tries after the first.

    Raises:
        ValueError: if `url` is not of that form.

    Example:
    ```python
    client = ModelServerClient("grpc://127.0.0.1:8500")
    answer = client.ask("Who wrote Emma?")  # `Answer`, as of `RealmQA`
    ```
    """

    def __init__(
        self, url: str, *, timeout: float = 30.0, num_retries: int = 2
    ):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("grpc", "http", "https") or not parts.hostname:
            raise ValueError(
                "`url` must be grpc://HOST:PORT or http://HOST:PORT of a model "
                f"server. Received: {url!r}."
            )
        self.num_retries = num_retries
        self._backend: Backend
        if parts.scheme == "grpc":
            self._backend = GrpcBackend(parts.netloc, timeout=timeout)
        else:
            self._backend = RestBackend(url, timeout=timeout)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answers one question; see `predict`."""
        return self.predict([question], **options)[0]

    def predict(
        self,
        questions: Sequence[str],
        *,
        num_alternatives: int = 4,
        threshold: float | None = None,
    ) -> list[Answer]:
        """Answers questions; see `RealmQA.predict`.

        Raises:
            BackendError: if the server gives no answer.
        """
        texts = check_questions(questions)
        if not texts:
            return []
        outputs = self._predict({"question": encoded(texts)})
        if threshold is None:
            threshold = threshold_of(outputs, len(texts))
        try:
            columns = [outputs[name].tolist() for name in _FIELDS]
            rows = [
                list(zip(*row, strict=True))
                for row in zip(*columns, strict=True)
            ]
            answers = [
                _answer(text, row, num_alternatives, threshold)
                for text, row in zip(texts, rows, strict=True)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise BackendError(
                f"`{QA}` must answer as its export describes it. Received: "
                f"{error}. Export it again."
            ) from error
        return answers

    def close(self) -> None:
        """Closes the connection."""
        self._backend.close()

    def _predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        for retries_left in range(self.num_retries, -1, -1):
            try:
                return self._backend.predict(QA, _SIGNATURE, inputs)[0]
            except BackendError:
                if not retries_left:
                    raise
        raise AssertionError


def _answer(
    question: str,
    row: list[tuple[Any, ...]],
    num_alternatives: int,
    threshold: float,
) -> Answer:
    spans = [_span(dict(zip(_FIELDS, cells, strict=True))) for cells in row]
    known = [span for span in spans if span is not None]
    blocks = {span.block: span.retrieval_probability for span in known}
    best = known[0] if known else Span("", Block(""), 0, 0, 0, 0, 0.0, 0.0, 0.0)
    return Answer(
        **vars(best),
        question=question,
        blocks=tuple(blocks),
        block_probabilities=tuple(blocks.values()),
        alternatives=tuple(known[1 : 1 + num_alternatives]),
        threshold=threshold,
    )


def _span(fields: dict[str, Any]) -> Span | None:
    """The answer of one cell; None for padding."""
    texts = {
        name: value.decode("utf-8", "replace")
        for name, value in fields.items()
        if isinstance(value, bytes)
    }
    fields = fields | texts
    if not fields["text"]:
        return None
    block = Block(
        fields["block_text"],
        title=fields["block_title"],
        block_id=fields["block_id"],
    )
    span = Span.cut(
        block,
        fields["byte_start"],
        fields["byte_end"],
        retrieval_probability=fields["retrieval_probability"],
        reading_probability=fields["reading_probability"],
        probability=fields["probability"],
    )
    if span.text != fields["text"]:
        raise ValueError(f"text={fields['text']!r}, in the block {span.text!r}")
    return span
