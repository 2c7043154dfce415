"""Answer: a text, its place in a block, and its probabilities."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from realm_tf.data.corpus.blocks import Block


@dataclasses.dataclass(frozen=True)
class Span:
    """An answer in one block.

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

    @classmethod
    def cut(
        cls,
        block: Block,
        byte_start: int,
        byte_end: int,
        **probabilities: float,
    ) -> "Span":
        """The span between two bytes of a block.

        Args:
            block: the evidence.
            byte_start: first byte.
            byte_end: byte after the last.
            **probabilities: the fields of that name.
        """
        encoded = block.text.encode("utf-8", "replace")
        text = encoded[byte_start:byte_end].decode("utf-8", "replace")
        start = len(encoded[:byte_start].decode("utf-8", "replace"))
        return cls(
            text=text,
            block=block,
            start=start,
            end=start + len(text),
            byte_start=byte_start,
            byte_end=byte_end,
            **probabilities,
        )


_NOTHING = Span("", Block(""), 0, 0, 0, 0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was retrieved for a question.

    Args:
        question: as it was asked.
        blocks: the blocks, best first.
        retrieval_logits: float `(num_retrieved,)`.
        lexical_scores: float `(num_retrieved,)`, the part of them that words
            have; None = no part.
        truncated: the question was longer than the model reads.
        is_mismatched: the index does not belong to the model, and was opened
            with `allow_mismatch=True`.
        index_version: of the index that was searched.
    """

    question: str
    blocks: tuple[Block, ...]
    retrieval_logits: np.ndarray
    truncated: bool
    is_mismatched: bool = False
    index_version: int | None = None
    lexical_scores: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """Of each block: p(z | x)."""
        if not self.blocks:
            return self.retrieval_logits
        weights = np.exp(self.retrieval_logits - self.retrieval_logits.max())
        return weights / weights.sum()


@dataclasses.dataclass(frozen=True)
class Answer(Span):
    """The best answer to a question, with all evidence.

    Whether it is one, or there is none, says `found`; `text` is then the best
    guess.

    Args:
        question: as it was asked.
        blocks: the blocks that were retrieved, best first.
        block_probabilities: p(z | x) of each of `blocks`.
        block_scores: f(x, z) of each of `blocks`.
        lexical_scores: w bm25(x, z) of each of `blocks`, the part of
            `block_scores` that words have; 0 where only embeddings count.
        alternatives: other answers, most probable first.
        truncated: the question was longer than the model reads.
        threshold: probability that `found` asks for.
        is_mismatched: the index does not belong to the model, and was opened
            with `allow_mismatch=True`.
        index_version: of the index that was searched; two answers can be
            equal without it.
    """

    question: str = ""
    blocks: tuple[Block, ...] = ()
    block_probabilities: tuple[float, ...] = ()
    block_scores: tuple[float, ...] = ()
    lexical_scores: tuple[float, ...] = ()
    alternatives: tuple[Span, ...] = ()
    truncated: bool = False
    threshold: float = 0.0
    is_mismatched: bool = False
    index_version: int | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def of(
        cls, evidence: Evidence, spans: Sequence[Span], threshold: float
    ) -> "Answer":
        """The first of `spans`, with the others as alternatives."""
        best = spans[0] if spans else _NOTHING
        logits = evidence.retrieval_logits
        words = evidence.lexical_scores
        if words is None:
            words = np.zeros_like(logits)
        return cls(
            **{
                field.name: getattr(best, field.name)
                for field in dataclasses.fields(Span)
            },
            question=evidence.question,
            blocks=evidence.blocks,
            block_probabilities=tuple(evidence.probabilities.tolist()),
            block_scores=tuple(logits.tolist()),
            lexical_scores=tuple(words.tolist()),
            alternatives=tuple(spans[1:]),
            truncated=evidence.truncated,
            threshold=threshold,
            is_mismatched=evidence.is_mismatched,
            index_version=evidence.index_version,
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
        """Whether there is an answer: `text` is as probable as it must be."""
        return bool(self.text) and self.probability >= self.threshold
