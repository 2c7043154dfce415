"""TextEmbedder: texts to embeddings with one `Embedder`."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.embedding_module import EmbeddingModule
from realm_tf.engine.engine import encoded
from realm_tf.layers.embedder import Embedder

_CHUNK = 4096  # texts that are sorted by length together


class TextEmbedder:
    """Embeds questions and blocks with one `Embedder`.

    A text has the same embedding, up to rounding, whatever is embedded with
    it. The weights may change between calls.

    Args:
        embedder: `Embedder`.
        featurizer: `Featurizer`.
        token_budget: tokens computed at once; see `in_groups`.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow.
    """

    def __init__(
        self,
        embedder: Embedder,
        featurizer: Featurizer,
        *,
        token_budget: int | None = None,
    ):
        _require_tensorflow()
        self.embedder = embedder
        self.featurizer = featurizer
        self._questions = EmbeddingModule(
            embedder,
            featurizer.cut_questions,
            ("question",),
            token_budget=token_budget,
        )
        self._blocks = EmbeddingModule(
            embedder,
            featurizer.blocks,
            ("title", "text"),
            token_budget=token_budget,
        )

    def questions(self, questions: Sequence[str]) -> np.ndarray:
        """Float32 embeddings `(len(questions), embedding_dim)`."""
        embeddings, _ = self.cut_questions(questions)
        return embeddings

    def cut_questions(
        self, questions: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """`questions`, and whether each was cut, bool `(len(questions),)`."""
        chunks = self._texts(self._questions, questions)
        truncated = [chunk["truncated"].numpy() for chunk in chunks]
        return _joined(chunks), np.concatenate(truncated)

    def blocks(self, blocks: Sequence[Block]) -> np.ndarray:
        """Float32 embeddings `(len(blocks), embedding_dim)`."""
        return self.titles_and_texts(
            [block.title for block in blocks], [block.text for block in blocks]
        )

    def titles_and_texts(
        self, titles: Sequence[str], texts: Sequence[str]
    ) -> np.ndarray:
        """`blocks`, from their titles and texts."""
        return _joined(self._texts(self._blocks, titles, texts))

    def features(self, features: dict[str, Any]) -> np.ndarray:
        """Float32 embeddings `(n, embedding_dim)` of rows that are packed."""
        return self._questions.features(features).numpy()

    def corpus(self, corpus: Any) -> Iterator[np.ndarray]:
        """Embeddings of all blocks of a `Corpus`, in order, in chunks."""
        for i in range(num_chunks(corpus)):
            yield self.chunk(corpus, i)

    def chunk(self, corpus: Any, i: int) -> np.ndarray:
        """Embeddings of chunk `i` of a `Corpus`, see `num_chunks`."""
        end = min((i + 1) * _CHUNK, corpus.num_blocks)
        return self.blocks(corpus.blocks(range(i * _CHUNK, end)))

    def _texts(
        self, module: EmbeddingModule, *texts: Sequence[str]
    ) -> list[dict[str, tf.Tensor]]:
        chunks = []
        for start in range(0, max(len(texts[0]), 1), _CHUNK):
            chunk = [encoded(rows[start : start + _CHUNK]) for rows in texts]
            strings = [tf.constant(c, tf.string, [len(c)]) for c in chunk]
            chunks.append(module.texts(*strings))
        return chunks


def num_chunks(corpus: Any) -> int:
    """Number of chunks in which the blocks of a `Corpus` are embedded."""
    return -(-corpus.num_blocks // _CHUNK)


def _joined(chunks: list[dict[str, tf.Tensor]]) -> np.ndarray:
    return np.concatenate([chunk["embedding"].numpy() for chunk in chunks])


def _require_tensorflow() -> None:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "Texts are embedded with Keras on TensorFlow; layers and losses "
            f"alone run on others. Received: KERAS_BACKEND={backend}. Unset "
            "KERAS_BACKEND before Python starts, or set it to tensorflow."
        )
