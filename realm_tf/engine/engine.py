"""Engine: text in, embeddings and answers with offsets out."""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from realm_tf.data.corpus.answer import Evidence, Span
from realm_tf.data.corpus.blocks import Block
from realm_tf.errors import BackendError

_T = TypeVar("_T")

MISSING_SCORE = -3e38
"""Retrieval score of a block that is not there; finite, as JSON insists."""


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Embeddings, with the fingerprint of their embedder.

    Args:
        embeddings: float32 array `(batch, embedding_dim)`.
        truncated: bool array `(batch,)`: the text was longer than is read;
            all False for blocks.
        fingerprint: of the embedder, which that of the index must equal; ""
            for the layers of this process.
        version: of the model.
    """

    embeddings: npt.NDArray[np.float32]
    truncated: npt.NDArray[np.bool_]
    fingerprint: str = ""
    version: int = 0


@dataclasses.dataclass(frozen=True)
class ReadSpan:
    """An answer of the reader.

    Args:
        text: the answer.
        block_position: which of the blocks that were read it stands in.
        byte_start: first byte in the UTF-8 of the block's text.
        byte_end: byte after the last.
        reading_probability: p(y | z, x).
        probability: sum over all spans that spell the same answer.
    """

    text: str
    block_position: int
    byte_start: int
    byte_end: int
    reading_probability: float
    probability: float

    def cut(self, block: Block, retrieval_probability: float) -> Span:
        """The answer in its block.

        Args:
            block: the one at `block_position`.
            retrieval_probability: p(z | x) of the block.
        """
        return Span.cut(
            block,
            self.byte_start,
            self.byte_end,
            retrieval_probability=retrieval_probability,
            reading_probability=self.reading_probability,
            probability=self.probability,
        )


@dataclasses.dataclass(frozen=True)
class Readings:
    """The answers to each of several questions, best first.

    Args:
        spans: tuple of tuples of `ReadSpan`.
        fingerprint: of the reader; "" for the layers of this process.
        version: of the model.
        threshold: of the reader's calibration.
    """

    spans: tuple[tuple[ReadSpan, ...], ...]
    fingerprint: str = ""
    version: int = 0
    threshold: float = 0.0


class Engine(abc.ABC):
    """What embeds questions and blocks and reads blocks for questions.

    One interface for the layers of this process, for exported models in it,
    for TensorFlow Serving, and for the way of the ORQA code. A text has the
    same embedding and a question the same answers alone as in a batch, within
    1e-5 in float32.
    """

    @abc.abstractmethod
    def embed_questions(self, questions: Sequence[str]) -> Embedded:
        """Embeds questions."""

    @abc.abstractmethod
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
            before_part: called before each part of the work; what it raises
                ends it.
        """

    @abc.abstractmethod
    def read(
        self,
        questions: Sequence[str],
        titles: Sequence[Sequence[str]],
        texts: Sequence[Sequence[str]],
        scores: npt.NDArray[np.float32],
        num_answers: int,
    ) -> Readings:
        """Reads blocks for questions.

        Args:
            questions: `(batch,)`.
            titles: `(batch, num_read)`, the same number for every question.
            texts: `(batch, num_read)`.
            scores: float `(batch, num_read)`, of the search; `MISSING_SCORE`
                where there is no block.
            num_answers: most answers to a question.
        """

    def read_evidence(
        self, evidence: Sequence[Evidence], num_read: int, num_answers: int
    ) -> tuple[list[list[Span]], Readings]:
        """Reads the best `num_read` blocks of each evidence.

        Returns:
            The answers to each question, best first; and the `Readings` that
            they come from.
        """
        readings = self.read(*to_read(evidence, num_read), num_answers)
        spans = [
            _cut(own, found)
            for own, found in zip(evidence, readings.spans, strict=True)
        ]
        return spans, readings


def to_read(
    evidence: Sequence[Evidence], num_read: int
) -> tuple[
    list[str], list[list[str]], list[list[str]], npt.NDArray[np.float32]
]:
    """Questions, titles, texts and scores of `Engine.read`."""
    nothing = Block("")
    blocks = [_padded(e.blocks, nothing, num_read) for e in evidence]
    scores = [
        _padded(e.retrieval_logits, MISSING_SCORE, num_read) for e in evidence
    ]
    return (
        [e.question for e in evidence],
        [[block.title for block in row] for row in blocks],
        [[block.text for block in row] for row in blocks],
        np.array(scores, np.float32),
    )


def check_finite(numbers: npt.ArrayLike) -> None:
    """Checks what a reader made.

    Raises:
        BackendError: if a number is NaN or infinite.
    """
    if not np.isfinite(numbers).all():
        raise BackendError(
            "A reader must give finite numbers. Received: NaN or infinite "
            "logits. Take other weights, or compute in float32."
        )


def encoded(texts: Sequence[str]) -> list[bytes]:
    """UTF-8, as `Featurizer` makes it of texts that have none."""
    return [text.encode("utf-8", "replace") for text in texts]


def _padded(values: Iterable[_T], padding: _T, width: int) -> list[_T]:
    """The first `width` values, or all of them and padding."""
    first = list(values)[:width]
    return first + [padding] * (width - len(first))


def _cut(evidence: Evidence, spans: Iterable[ReadSpan]) -> list[Span]:
    # p(z | x) is over all that was retrieved, of which the reader saw a part.
    retrieval = evidence.probabilities
    return [
        span.cut(
            evidence.blocks[span.block_position],
            float(retrieval[span.block_position]),
        )
        for span in spans
    ]
