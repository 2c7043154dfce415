"""Answer: what was read, where, and how sure the model is of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from realm_tf.data.answers import normalize_answer
from realm_tf.data.blocks import Block
from realm_tf.layers.spans import span_positions

_SPANS_MERGED = 256  # the most probable ones; the rest weighs next to nothing
_NO_SPAN = -1e8  # logits of what is no span are far below, of spans far above


@dataclasses.dataclass(frozen=True)
class Span:
    """An answer as it stands in one block.

    `block.text.encode()[byte_start:byte_end].decode()` and
    `block.text[start:end]` are both `text`.

    Args:
        text: the answer, as the block spells it.
        block: the evidence.
        start: first character in `block.text`.
        end: character after the last.
        byte_start: first byte in the UTF-8 of `block.text`.
        byte_end: byte after the last.
        retrieval_probability: p(z | x), among the blocks that were retrieved.
        reading_probability: p(y | z, x), among all spans of the block.
        probability: sum over all spans of all blocks that spell this answer,
            after the normalisation of evaluation.
    """

    text: str
    block: Block
    start: int
    end: int
    byte_start: int
    byte_end: int
    retrieval_probability: float
    reading_probability: float
    probability: float


_NOTHING = Span("", Block(""), 0, 0, 0, 0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was retrieved for a question.

    Args:
        question: as it was asked.
        blocks: the blocks, best first.
        retrieval_logits: float `(num_retrieved,)`.
        truncated: the question was longer than the model reads.
        is_mismatched: the index does not belong to the model, and was opened
            with `allow_mismatch=True`.
    """

    question: str
    blocks: tuple[Block, ...]
    retrieval_logits: np.ndarray
    truncated: bool
    is_mismatched: bool = False

    @property
    def probabilities(self) -> np.ndarray:
        """Of each block: p(z | x)."""
        if not self.blocks:
            return self.retrieval_logits
        return np.exp(self.retrieval_logits - _logsumexp(self.retrieval_logits))


@dataclasses.dataclass(frozen=True)
class Answer(Span):
    """The best answer to a question, with all evidence.

    Args:
        question: as it was asked.
        blocks: the blocks that were retrieved, best first.
        block_probabilities: p(z | x) of each of `blocks`.
        alternatives: other answers, most probable first.
        truncated: the question was longer than the model reads.
        threshold: probability that `found` asks for.
        is_mismatched: the index does not belong to the model, and was opened
            with `allow_mismatch=True`.
    """

    question: str = ""
    blocks: tuple[Block, ...] = ()
    block_probabilities: tuple[float, ...] = ()
    alternatives: tuple[Span, ...] = ()
    truncated: bool = False
    threshold: float = 0.0
    is_mismatched: bool = False

    @classmethod
    def of(
        cls, evidence: Evidence, spans: Sequence[Span], threshold: float
    ) -> "Answer":
        """The first of `spans`, with the others as alternatives."""
        best = spans[0] if spans else _NOTHING
        return cls(
            **{
                field.name: getattr(best, field.name)
                for field in dataclasses.fields(Span)
            },
            question=evidence.question,
            blocks=evidence.blocks,
            block_probabilities=tuple(evidence.probabilities.tolist()),
            alternatives=tuple(spans[1:]),
            truncated=evidence.truncated,
            threshold=threshold,
            is_mismatched=evidence.is_mismatched,
        )

    @classmethod
    def none(cls, evidence: Evidence, threshold: float) -> "Answer":
        """No answer, because nothing could be read."""
        return cls.of(evidence, [], threshold)

    @property
    def score(self) -> float:
        """Same as `probability`."""
        return self.probability

    @property
    def found(self) -> bool:
        """Whether the answer is probable enough to be given."""
        return bool(self.text) and self.probability >= self.threshold


def select_answers(
    evidence: Evidence,
    span_logits: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    max_span_width: int,
    num_answers: int,
) -> list[Span]:
    """The most probable distinct answers of one question.

    p(y, z | x) is one softmax over all spans of all blocks that were read, of
    the span logit plus the retrieval logit of its block (Lee et al., 2019).
    Spans that spell the same answer are summed. Ties go to the better block,
    then to the shorter span, then to the leftmost.

    Args:
        evidence: `Evidence`; its first `num_read` blocks were read.
        span_logits: float `(num_read, num_spans)`, without retrieval logits;
            -1e9 for what is no span of the block.
        starts: int `(num_read, joint_length)`, bytes, of `Featurizer.joint`.
        ends: int `(num_read, joint_length)`, bytes.
        max_span_width: of the reader, in wordpieces.
        num_answers: how many to return at most.

    Returns:
        list of `Span`, most probable first.
    """
    num_read, num_spans = span_logits.shape
    logits = evidence.retrieval_logits[:num_read, None] + span_logits
    log_probs = logits.ravel() - _logsumexp(logits.ravel())
    order = np.argsort(-log_probs, kind="stable")[:_SPANS_MERGED]
    order = order[span_logits.ravel()[order] > _NO_SPAN]
    first, last = span_positions(starts.shape[-1], max_span_width)
    encoded = [_encode(block) for block in evidence.blocks[:num_read]]
    best: dict[str, tuple[int, int]] = {}  # block and span
    totals: dict[str, float] = {}
    for place in order.tolist():
        z, span = divmod(place, num_spans)
        text = _decode(encoded[z][starts[z, first[span]] : ends[z, last[span]]])
        # An answer without a letter normalises to nothing and stands alone.
        key = normalize_answer(text) or text
        best.setdefault(key, (z, span))
        totals[key] = totals.get(key, 0.0) + float(np.exp(log_probs[place]))
    ranked = sorted(totals, key=totals.__getitem__, reverse=True)[:num_answers]
    spans = []
    for key in ranked:
        z, span = best[key]
        reading = span_logits[z, span] - _logsumexp(span_logits[z])
        spans.append(
            _cut(
                evidence.blocks[z],
                int(starts[z, first[span]]),
                int(ends[z, last[span]]),
                retrieval_probability=float(evidence.probabilities[z]),
                reading_probability=float(np.exp(reading)),
                probability=min(totals[key], 1.0),
            )
        )
    return spans


def _cut(
    block: Block, byte_start: int, byte_end: int, **probabilities: float
) -> Span:
    """The span between two bytes of a block."""
    encoded = _encode(block)
    text = _decode(encoded[byte_start:byte_end])
    start = len(_decode(encoded[:byte_start]))
    return Span(
        text=text,
        block=block,
        start=start,
        end=start + len(text),
        byte_start=byte_start,
        byte_end=byte_end,
        **probabilities,
    )


def _encode(block: Block) -> bytes:
    return block.text.encode("utf-8", "replace")


def _decode(encoded: bytes) -> str:
    return encoded.decode("utf-8", "replace")


def _logsumexp(x: np.ndarray) -> np.floating:
    most = x.max()
    return most + np.log(np.exp(x - most).sum())
