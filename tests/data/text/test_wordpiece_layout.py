import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.text.wordpiece_layout import WordpieceLayout

QUESTIONS = tf.ragged.constant([[11, 12], [], [13]], dtype=tf.int32)
BLOCKS = tf.ragged.constant([[21], [22, 23, 24], []], dtype=tf.int32)


def ids(layout):
    return layout.fill(7, [QUESTIONS.values, BLOCKS.values], [8, 9])


def test_fill_places_every_part_between_its_separators():
    layout = WordpieceLayout([QUESTIONS, BLOCKS], 7)
    assert ids(layout).numpy().tolist() == [
        [7, 11, 12, 8, 21, 9, 0],
        [7, 8, 22, 23, 24, 9, 0],
        [7, 13, 8, 9, 0, 0, 0],
    ]


def test_fill_takes_one_value_for_a_whole_part():
    layout = WordpieceLayout([QUESTIONS, BLOCKS], 7)
    assert layout.fill(1, [2, 3], [4, 5]).numpy().tolist() == [
        [1, 2, 2, 4, 3, 5, 0],
        [1, 4, 3, 3, 3, 5, 0],
        [1, 2, 4, 5, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("length", "rows"),
    [
        (
            6,
            [[7, 11, 12, 8, 21, 9], [7, 8, 22, 23, 24, 9], [7, 13, 8, 9, 0, 0]],
        ),
        (5, [[7, 11, 12, 8, 9], [7, 8, 22, 23, 9], [7, 13, 8, 9, 0]]),
        (3, [[7, 11, 9], [7, 8, 9], [7, 13, 9]]),
        (2, [[7, 9], [7, 9], [7, 9]]),
    ],
)
def test_cut_rows_keep_their_last_separator(length, rows):
    layout = WordpieceLayout([QUESTIONS, BLOCKS], length)
    assert ids(layout).numpy().tolist() == rows


def test_rows_equal_python_lists():
    rng = np.random.default_rng(0)
    for length in range(4, 20):
        lists = [
            [list(rng.integers(1, 9, rng.integers(0, 9))) for _ in range(5)]
            for _ in range(3)
        ]
        parts = [tf.ragged.constant(part, dtype=tf.int32) for part in lists]
        filled = WordpieceLayout(parts, length).fill(
            1, [part.values for part in parts], [2, 3, 4]
        )
        for i, (a, b, c) in enumerate(zip(*lists, strict=True)):
            row = [1, *a, 2, *b, 3, *c][: length - 1] + [4]
            row += [0] * (length - len(row))
            assert filled[i].numpy().tolist() == row


def test_no_rows():
    nothing = tf.RaggedTensor.from_row_splits(
        tf.zeros([0], tf.int32), tf.zeros([1], tf.int64)
    )
    filled = WordpieceLayout([nothing], 5).fill(1, [nothing.values], [2])
    assert filled.shape == (0, 5)
    assert filled.dtype == tf.int32


def test_length_is_static_in_a_graph():
    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def graph(part):
        filled = WordpieceLayout([part], 5).fill(1, [part.values], [2])
        assert filled.shape.as_list() == [None, 5]
        return filled

    assert graph(QUESTIONS).shape == (3, 5)


def test_parts_with_different_numbers_of_rows_are_refused():
    for other in (BLOCKS[:2], BLOCKS[:1]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            WordpieceLayout([QUESTIONS, other], 7)
