"""Searching block embeddings inside a graph."""

import abc
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

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
