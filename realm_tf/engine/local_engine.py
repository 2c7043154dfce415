"""LocalEngine: the layers of this process."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.data.corpus.answer import Evidence
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.engine import (
    Embedded,
    Engine,
    Readings,
    ReadSpan,
    check_finite,
    encoded,
    to_read,
)
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

# TensorFlow does the work of more graphs than there are cores many times
# slower: 128 questions from 64 threads took minutes.
_TURNS = threading.BoundedSemaphore(os.cpu_count() or 1)
_FIELDS = (
    "text",
    "block_position",
    "byte_start",
    "byte_end",
    "reading_probability",
    "probability",
)


class LocalEngine(Engine):
    """Runs embedders and reader with their current weights.

    Args:
        featurizer: `Featurizer`.
        query_embedder: `Embedder` of questions.
        block_embedder: `Embedder` of blocks; the same object while the two
            share weights.
        reader: `SpanReader`.
        token_budget: tokens computed at once; see `in_groups`. Defaults to
            what this machine is good at.

    Raises:
        ValueError: if a length is beyond what a backbone was made for.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        query_embedder: Embedder,
        block_embedder: Embedder,
        reader: SpanReader,
        *,
        token_budget: int | None = None,
    ):
        _check_lengths(featurizer, query_embedder, block_embedder, reader)
        self.featurizer = featurizer
        self.question_embedding = TextEmbedder(
            query_embedder, featurizer, token_budget=token_budget
        )
        self.block_embedding = self.question_embedding
        if block_embedder is not query_embedder:
            self.block_embedding = TextEmbedder(
                block_embedder, featurizer, token_budget=token_budget
            )
        self._reading = ReadingModule(
            reader, featurizer, token_budget=token_budget
        )

    def embed_questions(self, questions: Sequence[str]) -> Embedded:
        with _TURNS:
            return Embedded(*self.question_embedding.cut_questions(questions))

    def embed_blocks(
        self,
        titles: Sequence[str],
        texts: Sequence[str],
        *,
        before_part: Callable[[], None] = lambda: None,
    ) -> Embedded:
        before_part()
        with _TURNS:
            embeddings = self.block_embedding.titles_and_texts(titles, texts)
        return Embedded(embeddings, np.zeros(len(texts), bool))

    def read(
        self,
        questions: Sequence[str],
        titles: Sequence[Sequence[str]],
        texts: Sequence[Sequence[str]],
        scores: npt.NDArray[np.float32],
        num_answers: int,
    ) -> Readings:
        if not questions:
            return Readings(())
        inputs = _tensors(questions, titles, texts, scores)
        with _TURNS:
            found = self._reading.texts(*inputs, num_answers=num_answers)
        check_finite(found["probability"])
        columns = [found[name].numpy().tolist() for name in _FIELDS]
        return Readings(
            tuple(map(_spans, *columns)), threshold=self.calibration.threshold
        )

    def best_by_temperature(
        self, evidence: Sequence[Evidence], num_read: int
    ) -> tuple[list[str], npt.NDArray[np.float32]]:
        """The best answers, and how probable each temperature makes them.

        Returns:
            Texts `(num_questions,)`, and their probabilities at each of
            `TEMPERATURES`, `(num_temperatures, num_questions)`.
        """
        inputs = _tensors(*to_read(evidence, num_read))
        with _TURNS:
            found = self._reading.best_by_temperature(*inputs)
        check_finite(found["probability"])
        texts = found["text"][0, :, 0].numpy().tolist()
        return (
            [text.decode("utf-8", "replace") for text in texts],
            found["probability"][..., 0].numpy(),
        )

    @property
    def calibration(self) -> Calibration:
        """What makes probabilities mean something; see `Calibration`."""
        return self._reading.calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self._reading.calibration = calibration


def _tensors(
    questions: Sequence[str],
    titles: Sequence[Sequence[str]],
    texts: Sequence[Sequence[str]],
    scores: npt.NDArray[np.float32],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """What `Engine.read` is given, for the graph."""
    block_titles, block_texts = (
        tf.constant([encoded(row) for row in rows], tf.string, scores.shape)
        for rows in (titles, texts)
    )
    question = tf.constant(encoded(questions), tf.string, scores.shape[:1])
    return question, block_titles, block_texts, tf.constant(scores, tf.float32)


def _spans(texts: list[bytes], *columns: list[Any]) -> tuple[ReadSpan, ...]:
    """The answers to one question, from the cells of `_FIELDS`."""
    spans = (
        ReadSpan(text.decode("utf-8", "replace"), *cells)
        for text, *cells in zip(texts, *columns, strict=True)
    )
    return tuple(span for span in spans if span.block_position >= 0)


def _check_lengths(
    featurizer: Featurizer,
    query_embedder: Embedder,
    block_embedder: Embedder,
    reader: SpanReader,
) -> None:
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
            "Lengths must be at most those that the backbones were made for, "
            "and spans shorter than what is read. Received: "
            f"{featurizer.get_config()}, backbones of {most} wordpieces, "
            f"max_span_width={widest}. Shorten the featurizer's lengths."
        )
