"""QAModule: questions to answers over a corpus, all in one graph."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.engine.checked_inputs import checked
from realm_tf.engine.embedding_module import EmbeddingModule
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.serving.export.block_table import BlockTable
from realm_tf.serving.export.graph_searcher import GraphSearcher


class QAModule(tf.Module):
    """Embeds a question, searches, and reads the retrieved blocks.

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
        self._num_answers = num_answers

    @property
    def signatures(self) -> dict[str, Any]:
        """Name -> function, for `tf.saved_model.save`."""
        serve = tf.function(self._serve, autograph=False)
        question = tf.TensorSpec([None], tf.string, "question")
        return {"serving_default": serve.get_concrete_function(question)}

    def _serve(self, question: tf.Tensor) -> dict[str, tf.Tensor]:
        (question,) = checked(question=(question, 1))
        scores, rows = tf.map_fn(
            lambda query: self._searcher.search(query, self._num_read),
            self._embedding.embed(question)["embedding"],
            fn_output_signature=(
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ),
        )
        titles, texts = (
            tf.reshape(column, tf.shape(rows))
            for column in self._table.lookup(
                tf.cast(tf.reshape(rows, [-1]), tf.int64)
            )
        )
        answers = self._reading.read(
            question, titles, texts, scores, self._num_answers
        )
        places = answers["block_position"]
        found = {
            "block_id": _at(tf.gather(self._block_ids, rows), places, -1),
            "block_title": _at(titles, places, ""),
            "block_text": _at(texts, places, ""),
        }
        shape = [None, self._num_answers]
        outputs = {
            name: tf.ensure_shape(values, shape)
            for name, values in {**answers, **found}.items()
        }
        return outputs | self._reading.of_export(question)


def _at(values: tf.Tensor, places: tf.Tensor, missing: int | str) -> tf.Tensor:
    """Values `(batch, n)` at places of their row; `missing` at -1."""
    found = tf.gather(values, tf.maximum(places, 0), batch_dims=1)
    return tf.where(places < 0, tf.constant(missing, values.dtype), found)
