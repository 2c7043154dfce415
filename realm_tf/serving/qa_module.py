"""QAModule: questions to answers over a corpus, all in one graph."""

import abc
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.serving.answer_selection import answer_specs
from realm_tf.serving.block_table import BlockTable
from realm_tf.serving.embedding_module import EmbeddingModule
from realm_tf.serving.reading_module import ReadingModule
from realm_tf.serving.rows import checked, each_row

_CHUNK_ROWS = 2**16  # of embeddings in float32 at once: 32 MB of 128 each
_MORE_CANDIDATES = 32  # that are scored exactly, beyond those that are read


class GraphSearcher(tf.Module, abc.ABC):
    """Finds the blocks of a question inside a graph."""

    num_rows: int

    @abc.abstractmethod
    def candidates(self, query: tf.Tensor, k: int) -> tf.Tensor:
        """Rows among which the best `k` are; int32 `(n,)`.

        Args:
            query: float32 `(embedding_dim,)`.
            k: number of rows that are wanted.
        """

    @abc.abstractmethod
    def rows(self, places: tf.Tensor) -> tf.Tensor:
        """Embeddings `(n, embedding_dim)` in float32."""

    def search(self, query: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and rows of the best `k` blocks, best first.

        Scores are summed in float64, as in `realm_tf.retrieval`; equal ones
        are in the order of the rows.
        """
        places = tf.sort(self.candidates(query, k))
        rows = tf.cast(self.rows(places), tf.float64)
        products = rows * tf.cast(query, tf.float64)
        scores = tf.cast(tf.reduce_sum(products, axis=1), tf.float32)
        scores, best = tf.math.top_k(scores, tf.minimum(k, tf.size(scores)))
        return scores, tf.gather(places, best)


class BruteForceGraphSearcher(GraphSearcher):
    """Scores every block.

    Args:
        embeddings: `(num_blocks, embedding_dim)`, float32 or bfloat16; a
            variable of the graph, no constant.
    """

    def __init__(self, embeddings: npt.NDArray[Any]):
        super().__init__()
        self.num_rows, self._dim = embeddings.shape
        self._chunk_rows = self.num_rows
        if embeddings.dtype != np.float32:
            # Half precision is cast chunk by chunk, all of one size.
            self._chunk_rows = min(_CHUNK_ROWS, self.num_rows)
            missing = -self.num_rows % self._chunk_rows
            embeddings = np.pad(embeddings, [(0, missing), (0, 0)])
        self._embeddings = tf.Variable(
            embeddings, trainable=False, name="block_embeddings"
        )

    def candidates(self, query: tf.Tensor, k: int) -> tf.Tensor:
        scores = self._scores(query)[: self.num_rows]
        count = min(2 * k + _MORE_CANDIDATES, self.num_rows)
        return tf.math.top_k(scores, count).indices

    def _scores(self, query: tf.Tensor) -> tf.Tensor:
        embeddings = self._embeddings.read_value()
        if embeddings.dtype == tf.float32:
            return tf.linalg.matvec(embeddings, query)
        size = [self._chunk_rows, self._dim]

        def score(start: tf.Tensor) -> tf.Tensor:
            rows = tf.slice(embeddings, tf.stack([start, 0]), size)
            return tf.linalg.matvec(tf.cast(rows, tf.float32), query)

        scores = tf.map_fn(
            score,
            tf.range(0, embeddings.shape[0], self._chunk_rows),
            fn_output_signature=tf.TensorSpec(size[:1], tf.float32),
            parallel_iterations=1,
        )
        return tf.reshape(scores, [-1])

    def rows(self, places: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(self._embeddings, places), tf.float32)


class QAModule(tf.Module):
    """Embeds a question, searches, and reads what it found.

    Args:
        embedding: `EmbeddingModule` of questions.
        reading: `ReadingModule`.
        searcher: `GraphSearcher` of the blocks.
        table: `BlockTable` of the blocks, in the same order.
        block_ids: int64 `(num_blocks,)`, ids in the index.
        num_read: blocks that are read.
        num_answers: of `reading`.
    """

    def __init__(
        self,
        embedding: EmbeddingModule,
        reading: ReadingModule,
        searcher: GraphSearcher,
        table: BlockTable,
        block_ids: npt.NDArray[np.int64],
        *,
        num_read: int,
        num_answers: int,
    ):
        super().__init__()
        self._embedding = embedding
        self._reading = reading
        self._searcher = searcher
        self._table = table
        self._block_ids = tf.Variable(
            block_ids, trainable=False, name="block_ids"
        )
        self._num_read = num_read
        self._specs = answer_specs(num_answers) | {
            "block_id": tf.TensorSpec([num_answers], tf.int64),
            "block_title": tf.TensorSpec([num_answers], tf.string),
            "block_text": tf.TensorSpec([num_answers], tf.string),
        }

    @property
    def signatures(self) -> dict[str, Any]:
        """Name -> function, for `tf.saved_model.save`."""
        serve = tf.function(self._serve, autograph=False)
        question = tf.TensorSpec([None], tf.string, "question")
        return {"serving_default": serve.get_concrete_function(question)}

    def _serve(self, question: tf.Tensor) -> dict[str, tf.Tensor]:
        (question,) = checked(question=(question, 1))
        embeddings = self._embedding.embed(question)
        answers = each_row(self._answer, [question, embeddings], self._specs)
        return answers | {"fingerprint": self._reading.fingerprints(question)}

    def _answer(
        self, question: tf.Tensor, query: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        scores, rows = self._searcher.search(query, self._num_read)
        titles, texts = self._table.lookup(tf.cast(rows, tf.int64))
        answers = self._reading.read(question, titles, texts, scores)
        # Where an answer is missing, -1 becomes the last place.
        places = answers["block_position"]
        places = tf.where(places < 0, tf.size(rows), places)
        block_ids = tf.gather(self._block_ids, rows)
        return answers | {
            "block_id": tf.gather(tf.concat([block_ids, [-1]], 0), places),
            "block_title": tf.gather(tf.concat([titles, [""]], 0), places),
            "block_text": tf.gather(tf.concat([texts, [""]], 0), places),
        }
