import pytest
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.serving.export.block_table import BlockTable

TEXTS = [
    "",
    "plain",
    "tab\tline\nreturn\rboth\r\n",
    "\\ \\n \\\\n \\s \\t \\",
    "é 漢字 \u2028 \x85 \0 \x1c",
    " spaces ",
]


@pytest.fixture
def table(tmp_path):
    blocks = [Block(text, title=title) for text in TEXTS for title in TEXTS]
    BlockTable.write(tmp_path / "blocks.tsv", blocks)
    return BlockTable(tmp_path / "blocks.tsv"), blocks


def test_lookup_gives_every_text_back(table):
    table, blocks = table
    rows = list(range(len(blocks)))[::-1]
    titles, texts = table.lookup(tf.constant(rows, tf.int64))
    got = zip(titles.numpy(), texts.numpy(), strict=True)
    assert [(a.decode(), b.decode()) for a, b in got] == [
        (block.title, block.text) for block in blocks[::-1]
    ]


def test_lookup_of_nothing_and_of_rows_that_do_not_exist(table):
    table, _ = table
    for rows in ([], [10_000]):
        titles, texts = table.lookup(tf.constant(rows, tf.int64))
        assert titles.numpy().tolist() == texts.numpy().tolist()
        assert titles.shape == (len(rows),)
