"""Where the wordpieces of several texts go in one padded row."""

from collections.abc import Sequence

import tensorflow as tf


class WordpieceLayout:
    """`[CLS] part [SEP] part [SEP]`, cut and padded to `length`.

    The places are computed once and then filled with ids, segments or
    offsets. A row that is too long loses wordpieces before its last `[SEP]`.
    One scatter fills the rows: ragged concatenation does the same with a
    graph so large that tracing the reader's inputs took seconds.

    Args:
        parts: int32 ragged tensors `(batch, None)`; only their shape is used.
        length: wordpieces of a row, special tokens counted.
    """

    def __init__(self, parts: Sequence[tf.RaggedTensor], length: int):
        self._parts = parts
        self._length = length
        self._num_rows = parts[0].nrows()
        every_row = tf.range(self._num_rows)
        rows = [every_row]
        places = [tf.zeros_like(every_row)]
        end = tf.ones_like(every_row)
        for part in parts:
            # Fails if the parts differ in their number of rows.
            sizes = tf.reshape(part.row_lengths(), [self._num_rows])
            of_value = part.value_rowids()
            before = tf.gather(end - part.row_starts(), of_value)
            end += sizes
            rows += [of_value, every_row]
            places += [before + tf.range(tf.size(part, tf.int64)), end]
            end += 1
        last = tf.minimum(places.pop(), length - 1)
        others = tf.concat(places, 0)
        # What is cut lands in a column of its own.
        others = tf.where(others < length - 1, others, length)
        self._indices = tf.stack(
            [tf.concat(rows, 0), tf.concat([others, last], 0)], 1
        )

    def fill(
        self,
        first: int,
        contents: Sequence[tf.Tensor | int],
        separators: Sequence[int],
    ) -> tf.Tensor:
        """Rows of values, 0 where nothing is.

        Args:
            first: value in the place of `[CLS]`.
            contents: for each part one value, or one for each wordpiece.
            separators: value in the place of the `[SEP]` after each part.

        Returns:
            int32 `(batch, length)`.
        """
        values = [tf.fill([self._num_rows], first)]
        for part, content, separator in zip(
            self._parts, contents, separators, strict=True
        ):
            values.append(tf.broadcast_to(content, tf.shape(part.values)))
            values.append(tf.fill([self._num_rows], separator))
        shape = tf.stack([self._num_rows, self._length + 1])
        rows = tf.scatter_nd(self._indices, tf.concat(values, 0), shape)
        return rows[:, : self._length]
