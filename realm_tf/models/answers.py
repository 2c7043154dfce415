"""Answer: what was read, where, and how sure the model is of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from realm_tf.data.answers import normalize_answer
from realm_tf.data.blocks import Block
from realm_tf.layers.spans import span_positions

_SPANS_MERGED = 256  # the most probable ones; the rest weighs next to nothing


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
class Answer(Span):
    """The best answer to a question, with all evidence that was read.

    Args:
        question: as it was asked.
        blocks: the blocks that were read, best first.
        block_probabilities: p(z | x) of each of `blocks`.
        alternatives: other answers, most probable first.
        truncated: the question was longer than the model reads.
        threshold: `found` needs this probability.
    """

    question: str = ""
    blocks: tuple[Block, ...] = ()
    block_probabilities: tuple[float, ...] = ()
    alternatives: tuple[Span, ...] = ()
    truncated: bool = False
    threshold: float = 0.0

    @property
    def score(self) -> float:
        """Same as `probability`."""
        return self.probability

    @property
    def found(self) -> bool:
        """Whether the answer is probable enough to be given."""
        return bool(self.text) and self.probability >= self.threshold


def select_answers(
    blocks: Sequence[Block],
    retrieval_logits: np.ndarray,
    span_logits: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    max_span_width: int,
    num_answers: int,
) -> list[Span]:
    """The most probable distinct answers of one question.

    p(y, z | x) is one softmax over all spans of all blocks, of the span logit
    plus the retrieval logit of the block (Lee et al., 2019, section 3). Spans
    that spell the same answer are summed. Ties go to the better block, then
    to the shorter span, then to the leftmost.

    Args:
        blocks: blocks that were read, best first.
        retrieval_logits: float `(num_read,)`.
        span_logits: float `(num_read, num_spans)`, without retrieval logits.
        starts: int `(num_read, joint_length)`, bytes, of `Featurizer.joint`.
        ends: int `(num_read, joint_length)`, bytes.
        max_span_width: of the reader, in wordpieces.
        num_answers: how many to return.

    Returns:
        list of `Span`, most probable first.
    """
    joint = span_logits + retrieval_logits[:, None]
    log_joint = joint - _logsumexp(joint.ravel())
    block_log_probs = retrieval_logits - _logsumexp(retrieval_logits)
    reading = span_logits - np.array([[_logsumexp(row)] for row in span_logits])
    first, last = span_positions(starts.shape[-1], max_span_width)
    flat = log_joint.ravel()
    possible = flat > flat.max() - 50  # masked spans are far below
    order = np.argsort(-flat, kind="stable")[:_SPANS_MERGED]
    encoded = [block.text.encode("utf-8", "replace") for block in blocks]
    best: dict[str, tuple[int, int, int, int]] = {}
    totals: dict[str, float] = {}
    for place in order[possible[order]]:
        z, span = divmod(int(place), len(first))
        start, end = int(starts[z, first[span]]), int(ends[z, last[span]])
        text = encoded[z][start:end].decode("utf-8", "replace")
        # Answers without a letter normalise to nothing; they stay apart.
        key = normalize_answer(text) or text
        best.setdefault(key, (z, span, start, end))
        totals[key] = totals.get(key, 0.0) + float(np.exp(flat[place]))
    ranked = sorted(totals, key=lambda key: -totals[key])[:num_answers]
    answers = []
    for key in ranked:
        z, span, start, end = best[key]
        text = encoded[z][start:end].decode("utf-8", "replace")
        characters = len(encoded[z][:start].decode("utf-8", "replace"))
        answers.append(
            Span(
                text=text,
                block=blocks[z],
                start=characters,
                end=characters + len(text),
                byte_start=start,
                byte_end=end,
                retrieval_probability=float(np.exp(block_log_probs[z])),
                reading_probability=float(np.exp(reading[z, span])),
                probability=min(totals[key], 1.0),
            )
        )
    return answers


def _logsumexp(x: np.ndarray) -> np.floating:
    most = x.max()
    return most + np.log(np.exp(x - most).sum())
