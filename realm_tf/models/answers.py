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
        retrieval_probability: p(z | x), among the blocks that were read.
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


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was retrieved for a question.

    Args:
        question: as it was asked.
        blocks: the blocks, best first.
        retrieval_logits: float `(num_retrieved,)`.
        truncated: the question was longer than the model reads.
    """

    question: str
    blocks: tuple[Block, ...]
    retrieval_logits: np.ndarray
    truncated: bool

    @property
    def log_probs(self) -> np.ndarray:
        """Of each block: log p(z | x), in nats."""
        return self.retrieval_logits - _logsumexp(self.retrieval_logits)


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
    """

    question: str = ""
    blocks: tuple[Block, ...] = ()
    block_probabilities: tuple[float, ...] = ()
    alternatives: tuple[Span, ...] = ()
    truncated: bool = False
    threshold: float = 0.0

    @classmethod
    def of(
        cls, evidence: Evidence, spans: Sequence[Span], threshold: float
    ) -> "Answer":
        """The first of `spans`, with the others as alternatives."""
        if not spans:
            return cls.none(evidence, threshold)
        best = {
            field.name: getattr(spans[0], field.name)
            for field in dataclasses.fields(Span)
        }
        return cls(
            **best,
            question=evidence.question,
            blocks=evidence.blocks,
            block_probabilities=tuple(np.exp(evidence.log_probs).tolist()),
            alternatives=tuple(spans[1:]),
            truncated=evidence.truncated,
            threshold=threshold,
        )

    @classmethod
    def none(cls, evidence: Evidence, threshold: float) -> "Answer":
        """No answer, because nothing could be read."""
        return cls(
            text="",
            block=Block(""),
            start=0,
            end=0,
            byte_start=0,
            byte_end=0,
            retrieval_probability=0.0,
            reading_probability=0.0,
            probability=0.0,
            question=evidence.question,
            blocks=evidence.blocks,
            truncated=evidence.truncated,
            threshold=threshold,
        )

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
    encoded = [b.text.encode("utf-8", "replace") for b in evidence.blocks]
    best: dict[str, Span] = {}
    totals: dict[str, float] = {}
    for place in order.tolist():
        z, span = divmod(place, num_spans)
        start, end = int(starts[z, first[span]]), int(ends[z, last[span]])
        text = encoded[z][start:end].decode("utf-8", "replace")
        # An answer without a letter normalises to nothing and stands alone.
        key = normalize_answer(text) or text
        totals[key] = totals.get(key, 0.0) + float(np.exp(log_probs[place]))
        if key in best:
            continue
        characters = len(encoded[z][:start].decode("utf-8", "replace"))
        reading = span_logits[z, span] - _logsumexp(span_logits[z])
        best[key] = Span(
            text=text,
            block=evidence.blocks[z],
            start=characters,
            end=characters + len(text),
            byte_start=start,
            byte_end=end,
            retrieval_probability=float(np.exp(evidence.log_probs[z])),
            reading_probability=float(np.exp(reading)),
            probability=0.0,
        )
    ranked = sorted(totals, key=lambda key: -totals[key])[:num_answers]
    return [
        dataclasses.replace(best[key], probability=min(totals[key], 1.0))
        for key in ranked
    ]


def _logsumexp(x: np.ndarray) -> np.floating:
    most = x.max()
    return most + np.log(np.exp(x - most).sum())
