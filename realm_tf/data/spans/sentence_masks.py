"""Which sentence of a block is masked, and which of its wordpieces.

Salient spans are REALM's; random wordpieces (BERT) and random spans (SpanBERT)
are there to be compared with them.
"""

import abc
import math
import os
from typing import Any, NamedTuple

import numpy as np

from realm_tf._constants import MASKS
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.salient_spans import SalientSpans, default_path

_MASK_RATE = 0.15  # of BERT and SpanBERT
_SPAN_PROBABILITY = 0.2  # SpanBERT's geometric distribution of lengths
_MAX_SPAN_WIDTH = 10
_BYTES_OF_WORDPIECE = 3  # English has 4 and more


class Draw(NamedTuple):
    """A sentence to be masked.

    Args:
        start: first byte of the sentence in the block's text.
        text: the sentence.
        span: first byte, and byte after the last, of what is masked, in the
            sentence; `None` where wordpieces are chosen instead.
    """

    start: int
    text: str
    span: tuple[int, int] | None = None


class SentenceMasks(abc.ABC):
    """Abstract: draws sentences and their masks."""

    @property
    def description(self) -> dict[str, Any]:
        """JSON values that tell these masks from others."""
        return {"masks": type(self).__name__}

    @abc.abstractmethod
    def draw(self, block: Block, rng: np.random.Generator) -> Draw | None:
        """A sentence of a block; None where nothing can be masked."""

    @abc.abstractmethod
    def places(
        self,
        draw: Draw,
        starts: np.ndarray,
        ends: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Which wordpieces of the sentence are masked, ascending.

        Args:
            draw: of `draw`.
            starts: first byte of each wordpiece in the sentence.
            ends: byte after its last.
            rng: source of chance.

        Returns:
            int array; empty where no whole wordpiece is to be masked.
        """


class SalientSpanMasks(SentenceMasks):
    """One salient span of a block, each as likely as another.

    So sentences with more spans are likelier. Wordpieces that lie in the span
    only in part stay.

    Args:
        spans: `SalientSpans` of the corpus the blocks come from.

    Source: google-research/language, realm/featurization.py.
    """

    def __init__(self, spans: SalientSpans):
        self.spans = spans

    @property
    def description(self) -> dict[str, Any]:
        return {**super().description, "spans": self.spans.fingerprint[:16]}

    def draw(self, block: Block, rng: np.random.Generator) -> Draw | None:
        choices = self._choices(block)
        if not choices:
            return None
        start, end = choices[rng.integers(len(choices))]
        number = np.searchsorted(block.sentence_starts, start, "right") - 1
        first, text = _sentences(block, int(number), int(number))
        if end - first > len(text.encode()):
            return None  # annotated with other sentences than the corpus has
        return Draw(first, text, (start - first, end - first))

    def places(
        self,
        draw: Draw,
        starts: np.ndarray,
        ends: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        first, last = draw.span or (0, 0)
        return np.flatnonzero((starts >= first) & (ends <= last))

    def _choices(self, block: Block) -> list[tuple[int, int]]:
        spans = self.spans.spans(block.block_id)
        return sorted({(span.start, span.end) for span in spans})


class RecurringSpanMasks(SalientSpanMasks):
    """One salient span of a block that another block has too.

    The masked text can be read in the other block, so a new encoder learns to
    read from fewer sentences. Upper and lower case are the same.

    Args:
        spans: `SalientSpans` of `corpus`.
        corpus: `Corpus`. Its spans are kept in memory.
        block_length: wordpieces that are read of a block; spans that may lie
            beyond them do not count as another block's. Default: all of it.
    """

    def __init__(
        self,
        spans: SalientSpans,
        corpus: Corpus,
        block_length: int | None = None,
    ):
        super().__init__(spans)
        end = _BYTES_OF_WORDPIECE * block_length if block_length else math.inf
        self._holders: dict[str, list[int]] = {}
        for block in corpus:
            texts = {
                _span_text(block.text, span)
                for span in super()._choices(block)
                if span[1] <= end
            }
            for text in texts:
                self._holders.setdefault(text, []).append(block.block_id)

    def holders(self, block: Block, draw: Draw) -> list[int]:
        """Ids of the other blocks that have what is masked."""
        text = _span_text(draw.text, draw.span or (0, 0))
        return [i for i in self._holders.get(text, []) if i != block.block_id]

    def _choices(self, block: Block) -> list[tuple[int, int]]:
        return [
            span
            for span in super()._choices(block)
            if self._recurs(block, _span_text(block.text, span))
        ]

    def _recurs(self, block: Block, text: str) -> bool:
        holders = self._holders.get(text, [])
        return any(i != block.block_id for i in holders)


class RandomTokenMasks(SentenceMasks):
    """Wordpieces of a random sentence, each with the same probability.

    Args:
        rate: share of the wordpieces; at least one. Defaults to BERT's.
        passage_bytes: bytes of text that the sentence is drawn with, made of
            whole sentences after it and, where these end, before it. BERT reads
            such passages; rows of equal length waste no time on padding.
    """

    def __init__(self, rate: float = _MASK_RATE, passage_bytes: int = 0):
        self.rate = rate
        self.passage_bytes = passage_bytes

    @property
    def description(self) -> dict[str, Any]:
        return {
            **super().description,
            "mask_rate": self.rate,
            "passage_bytes": self.passage_bytes,
        }

    def draw(self, block: Block, rng: np.random.Generator) -> Draw | None:
        first = last = int(rng.integers(len(block.sentence_starts)))
        cuts = [*block.sentence_starts, len(block.text.encode())]
        for end in range(last + 2, len(cuts)):
            if cuts[end] - cuts[first] <= self.passage_bytes:
                last = end - 1
        for start in range(first - 1, -1, -1):
            if cuts[last + 1] - cuts[start] <= self.passage_bytes:
                first = start
        return Draw(*_sentences(block, first, last))

    def places(
        self,
        draw: Draw,
        starts: np.ndarray,
        ends: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        if not len(starts):
            return np.zeros(0, np.int64)
        count = max(1, round(self.rate * len(starts)))
        return np.sort(rng.choice(len(starts), count, replace=False))


class RandomSpanMasks(RandomTokenMasks):
    """Runs of wordpieces of a random sentence, of geometric length.

    Args:
        rate: share of the wordpieces; at least one. Defaults to SpanBERT's.
        passage_bytes: see `RandomTokenMasks`.

    Source: Joshi et al., 2020, section 3.1 (arXiv:1907.10529).
    """

    def places(
        self,
        draw: Draw,
        starts: np.ndarray,
        ends: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        count = max(1, round(self.rate * len(starts)))
        masked: set[int] = set()
        while len(masked) < min(count, len(starts)):
            width = min(rng.geometric(_SPAN_PROBABILITY), _MAX_SPAN_WIDTH)
            width = min(int(width), count - len(masked))
            first = int(rng.integers(len(starts) - width + 1))
            masked |= set(range(first, first + width))
        return np.array(sorted(masked), np.int64)


def make_masks(
    kind: str,
    text: Corpus,
    spans: str | os.PathLike[str] | None = None,
    *,
    passage_bytes: int = 0,
    block_length: int | None = None,
) -> SentenceMasks:
    """Masks of a kind for the sentences of a corpus.

    Args:
        kind: one of `MASKS`.
        text: `Corpus` of the sentences.
        spans: folder of its salient spans; defaults to the one beside it.
        passage_bytes: of random masks, see `RandomTokenMasks`.
        block_length: see `RecurringSpanMasks`.

    Raises:
        ValueError: if there is no such kind, or it takes no passages.
        FolderError: if spans are needed and are missing or damaged.
        MismatchError: if the spans are of another corpus.
    """
    if kind not in MASKS:
        raise ValueError(
            f"`kind` must be one of {MASKS}. Received: kind={kind!r}. Choose "
            "one of them."
        )
    if kind == "random-tokens":
        return RandomTokenMasks(passage_bytes=passage_bytes)
    if kind == "random-spans":
        return RandomSpanMasks(passage_bytes=passage_bytes)
    if passage_bytes:
        raise ValueError(
            "`passage_bytes` goes with random-tokens and random-spans, because "
            "a salient span is masked in its sentence alone. Received: "
            f"passage_bytes={passage_bytes}, kind={kind!r}. Leave it out."
        )
    opened = SalientSpans.open(spans or default_path(text.path), text)
    if kind == "recurring":
        return RecurringSpanMasks(opened, text, block_length)
    return SalientSpanMasks(opened)


def _span_text(text: str, span: tuple[int, int]) -> str:
    return text.encode()[slice(*span)].decode(errors="replace").lower()


def _sentences(block: Block, first: int, last: int) -> tuple[int, str]:
    """First byte and text of a run of sentences."""
    raw = block.text.encode()
    starts = [*block.sentence_starts, len(raw)]
    text = raw[starts[first] : starts[last + 1]].decode()
    return starts[first], text.rstrip()
