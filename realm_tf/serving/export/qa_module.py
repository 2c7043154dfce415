"""QAModule: questions to answers over a corpus, all in one graph."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.engine.answer_selection import answer_specs
from realm_tf.engine.embedding_module import EmbeddingModule
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.engine.rows import checked, each_row
from realm_tf.serving.export.block_table import BlockTable
from realm_tf.serving.export.graph_searcher import GraphSearcher


class QAModule(tf.Module):
    """Embeds a question, searches, and reads what it found.

    Signature serving_default: `question` string `(batch,)` to the outputs of
    `ReadingModule`, and `block_id` int64, `block_title`, `block_text` string
    `(batch, num_answers)`; -1 and "" where an answer is missing.

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
