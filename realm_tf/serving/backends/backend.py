"""Backend: runs the exported models for the query service."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf.engine.engine import (
    Embedded,
    Engine,
    Readings,
    ReadSpan,
    encoded,
)
from realm_tf.errors import BackendError
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QUERY_EMBEDDER,
    READER,
    Bundle,
)

MODELS = (QUERY_EMBEDDER, BLOCK_EMBEDDER, READER)
"""What a query service calls."""

_EMBED = "embed"
_READ = "serving_default"
_WORD = "Ready"  # that models are probed with
_BLOCKS_EMBEDDED = 64  # at once, so that memory does not grow with a document

Outputs = dict[str, npt.NDArray[Any]]


class Backend(Engine):
    """Calls the three models of a bundle and checks their outputs.

    Many threads may call at once. A reply is of one version of one model.
    """

    @property
    @abc.abstractmethod
    def num_parallel(self) -> int:
        """Calls of one model that are worth making at once."""

    @abc.abstractmethod
    def predict(
        self, model: str, signature: str, inputs: dict[str, Any]
    ) -> tuple[Outputs, int]:
        """Calls a model.

        Args:
            model: one of `MODELS`.
            signature: name of the signature.
            inputs: nested lists of bytes, or float arrays, batch first.

        Returns:
            The outputs, and the version of the model.

        Raises:
            BackendError: if there is no answer.
        """

    def of_export(self, bundle: Bundle) -> "Backend":
        """The same models, in the versions of an export.

        Raises:
            FolderError: if this process loads them, and one is damaged.
        """
        return self

    def check_export(self, bundle: Bundle) -> None:
        """Calls the models, and compares them with an export.

        Raises:
            BackendError: if one does not answer.
            MismatchError: if one is of another export.
        """
        embedded = [self.embed_questions([_WORD])]
        if BLOCK_EMBEDDER in bundle.models:
            embedded.append(self.embed_blocks([_WORD], [_WORD]))
        readings = self._read_word(bundle.num_read)
        for each in embedded:
            bundle.check_pair(each.fingerprint, readings.fingerprint)

    def probe(self, num_read: int) -> None:
        """Calls embedder and reader with a word.

        Args:
            num_read: blocks of a question; a server that joins requests wants
                the same number in all.

        Raises:
            BackendError: if one of the two does not answer.
        """
        self.embed_questions([_WORD])
        self._read_word(num_read)

    def close(self) -> None:  # noqa: B027
        """Frees models and connections."""

    def embed_questions(self, questions: Sequence[str]) -> Embedded:
        """Embeds questions."""
        inputs = {"question": encoded(questions)}
        outputs, version = self.predict(QUERY_EMBEDDER, _EMBED, inputs)
        return _embedded(outputs, len(questions), version)

    def embed_blocks(
        self,
        titles: Sequence[str],
        texts: Sequence[str],
        *,
        before_part: Callable[[], None] = lambda: None,
    ) -> Embedded:
        """Embeds blocks.

        Args:
            titles: `(batch,)`.
            texts: `(batch,)`.
            before_part: called before each call of the model, which takes 64
                blocks; what it raises ends the work.

        Raises:
            BackendError: also if the model changed in between.
        """
        parts = []
        for start in range(0, len(texts), _BLOCKS_EMBEDDED):
            before_part()
            chosen = slice(start, start + _BLOCKS_EMBEDDED)
            inputs = {
                "title": encoded(titles[chosen]),
                "text": encoded(texts[chosen]),
            }
            outputs, version = self.predict(BLOCK_EMBEDDER, _EMBED, inputs)
            parts.append(_embedded(outputs, len(inputs["text"]), version))
        if len({part.fingerprint for part in parts}) != 1:
            raise BackendError(
                "Several versions of the model embedded parts of one document: "
                f"{sorted({part.version for part in parts})}. Retry."
            )
        return dataclasses.replace(
            parts[-1],
            embeddings=np.concatenate([part.embeddings for part in parts]),
            truncated=np.concatenate([part.truncated for part in parts]),
        )

    def read(
        self,
        questions: Sequence[str],
        titles: Sequence[Sequence[str]],
        texts: Sequence[Sequence[str]],
        scores: npt.NDArray[np.float32],
        num_answers: int,
    ) -> Readings:
        """Reads blocks; at most as many answers as the export allows."""
        inputs = {
            "question": encoded(questions),
            "block_titles": [encoded(row) for row in titles],
            "block_texts": [encoded(row) for row in texts],
            "retrieval_scores": np.asarray(scores, np.float32),
        }
        outputs, version = self.predict(READER, _READ, inputs)
        fingerprint = _fingerprint(outputs, len(texts))
        spans = tuple(s[:num_answers] for s in _spans(outputs, texts))
        return Readings(
            spans, fingerprint, version, threshold_of(outputs, len(texts))
        )

    def _read_word(self, num_read: int) -> Readings:
        scores = np.zeros((1, num_read), np.float32)
        blocks = [[_WORD] * num_read]
        return self.read([_WORD], blocks, blocks, scores, 1)


def threshold_of(outputs: Outputs, batch: int) -> float:
    """Threshold of a model's answers; 0 of one without a calibration.

    Raises:
        BackendError: if it is none.
    """
    if "threshold" not in outputs:  # exported by an earlier version
        return 0.0
    thresholds = _field(outputs, "threshold", "f", batch)
    if thresholds.ndim != 1 or len(set(thresholds.tolist())) > 1:
        raise _nonsense("threshold", thresholds)
    return float(thresholds[0]) if batch else 0.0


def _embedded(outputs: Outputs, batch: int, version: int) -> Embedded:
    embeddings = _field(outputs, "embedding", "f", batch)
    if embeddings.ndim != 2:
        raise _nonsense("embedding", embeddings.shape)
    truncated = np.zeros(batch, bool)
    if "truncated" in outputs:
        truncated = _field(outputs, "truncated", "b", batch)
    return Embedded(
        np.asarray(embeddings, np.float32),
        truncated,
        _fingerprint(outputs, batch),
        version,
    )


def _fingerprint(outputs: Outputs, batch: int) -> str:
    names = _field(outputs, "fingerprint", "OS", batch).tolist()
    fingerprints = {_text(name) for name in names}
    if len(fingerprints) != 1:
        raise _nonsense("fingerprint", sorted(fingerprints))
    return fingerprints.pop()


def _spans(
    outputs: Outputs, texts: Sequence[Sequence[str]]
) -> tuple[tuple[ReadSpan, ...], ...]:
    kinds = {
        "text": "OS",
        "block_position": "i",
        "byte_start": "i",
        "byte_end": "i",
        "reading_probability": "f",
        "probability": "f",
    }
    columns = {
        name: _field(outputs, name, kind, len(texts))
        for name, kind in kinds.items()
    }
    if {column.ndim for column in columns.values()} != {2}:
        raise _nonsense("text", columns["text"].shape)
    rows = []
    for row, own in enumerate(texts):
        cells = zip(*(c[row].tolist() for c in columns.values()), strict=True)
        spans = (ReadSpan(_text(cell[0]), *cell[1:]) for cell in cells)
        rows.append(tuple(s for s in spans if s.block_position >= 0))
        for span in rows[-1]:
            if not _stands_in(span, own):
                raise _nonsense("text", span)
    return tuple(rows)


def _stands_in(span: ReadSpan, texts: Sequence[str]) -> bool:
    if not 0 <= span.block_position < len(texts):
        return False
    (text,) = encoded([texts[span.block_position]])
    slice_ = text[span.byte_start : span.byte_end].decode("utf-8", "replace")
    return 0 <= span.byte_start <= span.byte_end and slice_ == span.text


def _field(
    outputs: Outputs, name: str, kinds: str, batch: int
) -> npt.NDArray[Any]:
    value = outputs.get(name)
    if value is None:
        raise _nonsense(name, sorted(outputs))
    if value.dtype.kind not in kinds or value.shape[:1] != (batch,):
        raise _nonsense(name, f"{value.dtype} {value.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise _nonsense(name, "numbers that are not finite")
    return value


def _text(value: Any) -> str:
    return (
        value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    )


def _nonsense(name: str, received: Any) -> BackendError:
    return BackendError(
        f"A model must answer with `{name}` as its export describes it. "
        f"Received: {received!r:.200}. Export the bundle again, and let the "
        "model server load that."
    )
