"""Embed, search, read: from questions to answers over an index."""

import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.answer import Answer, Evidence
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.numpy_answers import select_answers
from realm_tf.engine.official.official_featurizer import OfficialFeaturizer
from realm_tf.engine.official.official_reader import OfficialReader
from realm_tf.engine.text_embedder import TextEmbedder, trim_joint
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.retrieval.index.block_index import BlockIndex

MAX_READ = 1000
"""Most blocks read for a question."""

_QUESTIONS_SEARCHED = 64
_BLOCKS_READ = 32  # at once, so that memory does not grow with `num_read`


class QuestionAnswerer:
    """Answers questions with a question embedder and a reader.

    Args:
        question_embedding: `TextEmbedder` of questions.
        reader: `SpanReader`.
        official: reads in its place, as the ORQA code does.
    """

    def __init__(
        self,
        question_embedding: TextEmbedder,
        reader: SpanReader,
        official: OfficialReader | None = None,
    ):
        self.question_embedding = question_embedding
        self.official = official
        self.featurizer = question_embedding.featurizer
        self.reader = reader
        spec = tf.TensorSpec([None, None, None], tf.int32)
        self._read = tf.function(
            lambda joint, block_mask: reader(
                joint, block_mask=block_mask, training=False
            ),
            input_signature=[{name: spec for name in FEATURES}, spec],
            autograph=False,
        )

    def answer(
        self,
        questions: list[str],
        index: BlockIndex,
        *,
        num_read: int,
        num_retrieved: int | None,
        num_alternatives: int,
        threshold: float,
    ) -> list[Answer]:
        """See `RealmQA.predict`."""
        num_retrieved = num_read if num_retrieved is None else num_retrieved
        _check_count("num_read", num_read, 1)
        _check_count("num_retrieved", num_retrieved, num_read)
        _check_count("num_alternatives", num_alternatives, 0)
        if not isinstance(threshold, numbers.Real) or not 0 <= threshold <= 1:
            raise ValueError(
                "`threshold` must be a probability. Received: "
                f"threshold={threshold!r}."
            )
        answers = []
        for start in range(0, len(questions), _QUESTIONS_SEARCHED):
            part = questions[start : start + _QUESTIONS_SEARCHED]
            embeddings = self.question_embedding.questions_one_by_one(part)
            found = index.search(embeddings, num_retrieved)
            for question, scores, block_ids in zip(
                part, found.scores, found.block_ids, strict=True
            ):
                known = block_ids >= 0
                evidence = Evidence(
                    question=question,
                    blocks=tuple(index.blocks(block_ids[known])),
                    retrieval_logits=scores[known],
                    truncated=self._is_truncated(question),
                    is_mismatched=index.is_mismatched,
                    index_version=index.version,
                )
                answers.append(
                    self.read(evidence, num_read, num_alternatives, threshold)
                )
        return answers

    def read(
        self,
        evidence: Evidence,
        num_read: int,
        num_alternatives: int,
        threshold: float,
    ) -> Answer:
        """Reads the best `num_read` blocks of the evidence."""
        if self.official is not None:
            return self.official.read(
                evidence, num_read, num_alternatives, threshold
            )
        blocks = evidence.blocks[:num_read]
        if not blocks:
            return Answer.none(evidence, threshold)
        joint = self.featurizer.joint(
            [evidence.question] * len(blocks),
            [block.title for block in blocks],
            [block.text for block in blocks],
        )
        # The same question is padded alike whatever is asked with it.
        joint = trim_joint(
            {name: value.numpy() for name, value in joint.items()},
            self.reader.max_span_width,
        )
        spans = select_answers(
            evidence,
            self._span_logits(joint),
            joint["starts"],
            joint["ends"],
            max_span_width=self.reader.max_span_width,
            num_answers=1 + num_alternatives,
        )
        return Answer.of(evidence, spans, threshold)

    def _span_logits(self, joint: dict[str, np.ndarray]) -> np.ndarray:
        logits = []
        for start in range(0, len(joint["block_mask"]), _BLOCKS_READ):
            part = {
                name: value[None, start : start + _BLOCKS_READ]
                for name, value in joint.items()
            }
            features = {name: part[name] for name in FEATURES}
            logits.append(self._read(features, part["block_mask"])[0])
        return np.concatenate(logits)

    def _is_truncated(self, question: str) -> bool:
        if self.official is not None:
            featurizer = self.official.featurizer
            num_wordpieces = len(featurizer.question_ids(question))
            return num_wordpieces > featurizer.max_question
        return bool(self.featurizer.is_truncated([question])[0])


def answer_officially(
    featurizer: Featurizer, query_embedder: Embedder, reader: SpanReader
) -> tuple[TextEmbedder, QuestionAnswerer]:
    """Embeds and answers questions as the ORQA code does.

    Args:
        featurizer: `Featurizer` with the vocabulary and the joint length.
        query_embedder: `Embedder` of questions.
        reader: `SpanReader`.
    """
    official = OfficialFeaturizer(featurizer, featurizer.joint_length)
    embedding = TextEmbedder(query_embedder, official)
    return embedding, QuestionAnswerer(
        embedding, reader, OfficialReader(official, reader)
    )


def check_lengths(
    featurizer: Featurizer,
    query_embedder: Embedder,
    block_embedder: Embedder,
    reader: SpanReader,
) -> None:
    """Checks that the trunks take what the featurizer makes.

    Raises:
        ValueError: if a length is beyond what a trunk was made for.
    """
    longest = max(
        featurizer.query_length,
        featurizer.block_length,
        featurizer.joint_length,
    )
    layers = (query_embedder, block_embedder, reader)
    most = min(layer.backbone.max_sequence_length for layer in layers)
    widest = reader.max_span_width
    if longest > most or widest > featurizer.joint_length:
        raise ValueError(
            "Lengths must be at most those that the trunks were made for, "
            "and spans shorter than what is read. Received: "
            f"{featurizer.get_config()}, trunks of {most} wordpieces, "
            f"max_span_width={widest}. Shorten the featurizer's lengths."
        )


def _check_count(name: str, value: Any, least: int) -> None:
    is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_int or not least <= value <= MAX_READ:
        raise ValueError(
            f"`{name}` must be an integer from {least} to {MAX_READ}. "
            f"Received: {name}={value!r}."
        )
