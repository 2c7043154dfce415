"""Answers as the ORQA code gives them, for comparison with its figures."""

import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.answer import Answer, Evidence, Span
from realm_tf.engine.official.official_featurizer import (
    OfficialBlock,
    OfficialFeaturizer,
)
from realm_tf.engine.official.official_text import final_text
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.span_reader import SpanReader
from realm_tf.layers.spans import span_mask, span_positions

_MASK = np.float32(-10_000)  # added to the logits of what is no span


class OfficialReader:
    """Reads blocks as the ORQA code does.

    The block and the span are two separate maxima, -10000 is added to what is
    no span of the block, and the answer is the original words of the span
    joined by spaces, cut by `final_text`.

    Args:
        featurizer: `OfficialFeaturizer`.
        reader: `SpanReader`.
    """

    def __init__(self, featurizer: OfficialFeaturizer, reader: SpanReader):
        self.featurizer = featurizer
        self.reader = reader
        spec = tf.TensorSpec([None, None, None], tf.int32)
        # Without a mask of ours: every span has its own logit.
        self._read = tf.function(
            lambda joint: reader(
                joint,
                block_mask=tf.ones_like(joint["token_ids"]),
                training=False,
            ),
            input_signature=[{name: spec for name in FEATURES}],
            autograph=False,
        )

    def read(
        self,
        evidence: Evidence,
        num_read: int,
        num_alternatives: int,
        threshold: float,
    ) -> Answer:
        """See `QuestionAnswerer.read`; there are no alternatives."""
        del num_alternatives
        blocks = [
            self.featurizer.block(block.text)
            for block in evidence.blocks[:num_read]
        ]
        if not blocks:
            return Answer.none(evidence, threshold)
        question_ids = self.featurizer.question_ids(evidence.question)
        joint = self.featurizer.joint(question_ids, blocks)
        features = {name: joint[name][None] for name in FEATURES}
        widest = self.reader.max_span_width
        is_span = np.asarray(span_mask(joint["block_mask"], widest))
        reading = self._read(features)[0].numpy() + np.where(is_span, 0, _MASK)
        logits = reading + evidence.retrieval_logits[: len(blocks), None]
        place, span = select_cell(logits)
        first, last = span_positions(joint["token_ids"].shape[1], widest)
        start, end = int(first[span]), int(last[span])
        answer = self._span(evidence, blocks, joint, place, start, end)
        spans = [
            Span(
                text=answer,
                block=evidence.blocks[place],
                start=0,
                end=0,
                byte_start=0,
                byte_end=0,
                retrieval_probability=float(evidence.probabilities[place]),
                reading_probability=_probability(reading[place], span),
                probability=_probability(
                    logits.ravel(), place * logits.shape[1] + span
                ),
            )
        ]
        return Answer.of(evidence, spans, threshold)

    def _span(
        self,
        evidence: Evidence,
        blocks: list[OfficialBlock],
        joint: dict[str, np.ndarray],
        place: int,
        start: int,
        end: int,
    ) -> str:
        words = joint["token_map"][place, [start, end]]
        if min(words) < 0:
            return ""  # the maxima met where no block is
        orig = " ".join(blocks[place].words[words[0] : words[1] + 1])
        ids = joint["token_ids"][place, start : end + 1]
        pred = " ".join(self.featurizer.vocabulary[i] for i in ids.tolist())
        return final_text(pred, orig, lowercase=self.featurizer.lowercase)


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
