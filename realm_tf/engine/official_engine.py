"""OfficialEngine: answers as the ORQA code gives them."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.data.corpus.answer import Span
from realm_tf.data.corpus.blocks import Block
from realm_tf.engine.engine import (
    Embedded,
    Engine,
    Readings,
    ReadSpan,
    check_finite,
)
from realm_tf.engine.local_engine import LocalEngine
from realm_tf.engine.official.official_featurizer import (
    OfficialBlock,
    OfficialFeaturizer,
)
from realm_tf.engine.official.official_text import final_text
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.span_reader import SpanReader
from realm_tf.layers.spans import span_mask, span_positions

_MASK = np.float32(-10_000)  # added to the logits of what is no span
_LEAST_SCORE = -1e30  # of a block that is there


@dataclasses.dataclass(frozen=True)
class _JoinedWords(ReadSpan):
    """An answer of words joined by spaces, not a slice of a block."""

    def cut(self, block: Block, retrieval_probability: float) -> Span:
        return Span(
            text=self.text,
            block=block,
            start=0,
            end=0,
            byte_start=0,
            byte_end=0,
            retrieval_probability=retrieval_probability,
            reading_probability=self.reading_probability,
            probability=self.probability,
        )


class OfficialEngine(Engine):
    """Embeds and reads as the ORQA code does, to compare with its figures.

    Questions are tokenised by its rules. The block and the span are two
    separate maxima, -10000 is added to what is no span of the block, and the
    answer is the original words of the span joined by spaces, cut by
    `final_text`. There are no alternatives and no offsets. Blocks are embedded
    as elsewhere.

    Args:
        local: `LocalEngine` of the same layers.
        reader: `SpanReader`.
    """

    def __init__(self, local: LocalEngine, reader: SpanReader):
        self._local = local
        featurizer = local.featurizer
        self._featurizer = OfficialFeaturizer(
            featurizer, featurizer.joint_length
        )
        self._reader = reader
        spec = tf.TensorSpec([None, None, None], tf.int32)
        # Without a mask of ours: every span has its own logit.
        self._span_logits = tf.function(
            lambda joint: reader(
                joint,
                block_mask=tf.ones_like(joint["token_ids"]),
                training=False,
            ),
            input_signature=[{name: spec for name in FEATURES}],
            autograph=False,
        )

    def embed_questions(self, questions: Sequence[str]) -> Embedded:
        featurizer = self._featurizer
        truncated = [
            len(featurizer.question_ids(question)) > featurizer.max_question
            for question in questions
        ]
        features = featurizer.questions(questions)
        return Embedded(
            self._local.question_embedding.features(features),
            np.array(truncated, bool),
        )

    def embed_blocks(
        self,
        titles: Sequence[str],
        texts: Sequence[str],
        *,
        before_part: Callable[[], None] = lambda: None,
    ) -> Embedded:
        return self._local.embed_blocks(titles, texts, before_part=before_part)

    def read(
        self,
        questions: Sequence[str],
        titles: Sequence[Sequence[str]],
        texts: Sequence[Sequence[str]],
        scores: npt.NDArray[np.float32],
        num_answers: int,
    ) -> Readings:
        del titles, num_answers  # neither is read
        return Readings(
            tuple(
                self._read_one(question, own, row)
                for question, own, row in zip(
                    questions, texts, scores, strict=True
                )
            )
        )

    def _read_one(
        self,
        question: str,
        texts: Sequence[str],
        scores: npt.NDArray[np.float32],
    ) -> tuple[ReadSpan, ...]:
        places = np.flatnonzero(scores > _LEAST_SCORE).tolist()
        if not places:
            return ()
        blocks = [self._featurizer.block(texts[place]) for place in places]
        question_ids = self._featurizer.question_ids(question)
        joint = self._featurizer.joint(question_ids, blocks)
        features = {name: joint[name][None] for name in FEATURES}
        widest = self._reader.max_span_width
        is_span = np.asarray(span_mask(joint["block_mask"], widest))
        reading = self._span_logits(features)[0].numpy()
        check_finite(reading)
        reading += np.where(is_span, 0, _MASK)
        logits = reading + scores[places, None]
        row, span = select_cell(logits)
        first, last = span_positions(joint["token_ids"].shape[1], widest)
        return (
            _JoinedWords(
                text=self._words(
                    blocks, joint, row, int(first[span]), int(last[span])
                ),
                block_position=places[row],
                byte_start=0,
                byte_end=0,
                reading_probability=_probability(reading[row], span),
                probability=_probability(
                    logits.ravel(), row * logits.shape[1] + span
                ),
            ),
        )

    def _words(
        self,
        blocks: list[OfficialBlock],
        joint: dict[str, np.ndarray],
        row: int,
        start: int,
        end: int,
    ) -> str:
        words = joint["token_map"][row, [start, end]]
        if min(words) < 0:
            return ""  # the maxima met where no block is
        orig = " ".join(blocks[row].words[words[0] : words[1] + 1])
        ids = joint["token_ids"][row, start : end + 1]
        pred = " ".join(self._featurizer.vocabulary[i] for i in ids.tolist())
        return final_text(pred, orig, lowercase=self._featurizer.lowercase)


def select_cell(logits: np.ndarray) -> tuple[int, int]:
    """The block with the best span, and the span with the best block.

    Where two cells tie, it may be neither of them, as in the original.

    Example:
    >>> select_cell(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    (0, 0)
    """
    return int(logits.max(axis=1).argmax()), int(logits.max(axis=0).argmax())


def _probability(logits: np.ndarray, place: int) -> float:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return float(weights[place] / weights.sum())
