r"""BlockTable: titles and texts of blocks, inside a graph.

The asset blocks.tsv has a line for each block. Within it "\" stands before
s, t, n and r for a backslash, a tab, a line feed and a carriage return.
"""

import os
import pathlib
from collections.abc import Iterable

import tensorflow as tf

from realm_tf.data.corpus.blocks import Block

ASSET_NAME = "blocks.tsv"
_SEPARATOR = "\t"
# The backslash comes first when writing, and last when reading.
_ESCAPES = {"\\": r"\s", "\t": r"\t", "\n": r"\n", "\r": r"\r"}


class BlockTable(tf.Module):
    """Looks blocks up by the number of their line.

    The texts are no part of the graph: the server reads them when it loads
    the model, into a table of stock operations.

    Args:
        path: file that `BlockTable.write` wrote.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__()
        lines = tf.lookup.TextFileInitializer(
            os.fspath(path),
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        )
        self._table = tf.lookup.StaticHashTable(lines, _SEPARATOR)

    @staticmethod
    def write(path: pathlib.Path, blocks: Iterable[Block]) -> None:
        """Writes the asset."""
        with open(path, "wb") as file:
            for block in blocks:
                parts = _escaped(block.title), _escaped(block.text)
                line = _SEPARATOR.join(parts) + "\n"
                file.write(line.encode("utf-8", "replace"))

    def lookup(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Titles and texts.

        Args:
            rows: int64 `(n,)`, numbers of lines.

        Returns:
            two string tensors `(n,)`.
        """
        lines = self._table.lookup(rows)
        parts = tf.strings.split(lines, _SEPARATOR).to_tensor(
            "", shape=[None, 2]
        )
        for character, escape in reversed(_ESCAPES.items()):
            parts = tf.strings.regex_replace(
                parts, _literal(escape), _literal(character)
            )
        return parts[:, 0], parts[:, 1]


def _escaped(text: str) -> str:
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _literal(text: str) -> str:
    """Pattern or replacement that stands for itself."""
    return text.replace("\\", "\\\\")
