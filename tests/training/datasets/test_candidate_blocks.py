import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.spans.sentence_masks import Draw
from realm_tf.training.datasets.candidate_blocks import (
    MaskedSentence,
    NullBlockAlone,
    without_sentence,
)


def sentence_of(block, start, text):
    return MaskedSentence(block, Draw(start, text), np.zeros(1), np.zeros(1))


@pytest.mark.parametrize(
    ("exclude", "expected"), [(False, [1, 2]), (True, [2])]
)
def test_neighbours_of_the_article_are_left_out(exclude, expected):
    own = Block("b", "city", "1", 0)
    blocks = [
        own,
        Block("b", "city", "9", 5),  # a copy elsewhere
        Block("c", "city", "1", 1),
        Block("d", "paris", "2", 2),
        Block("d", "paris", "3", 3),  # a copy of another
    ]
    sentence = sentence_of(own, 0, "b")
    candidates = NullBlockAlone(None)
    candidates.count, candidates.exclude_neighbours = 2, exclude
    usable = candidates.usable(sentence, blocks)
    assert [block.block_id for block in usable] == expected


@pytest.mark.parametrize(
    ("start", "text", "rest"),
    [
        (0, "Zürich lies on a lake.", "It is old. It is rich."),
        (24, "It is old.", "Zürich lies on a lake. It is rich."),
        (35, "It is rich.", "Zürich lies on a lake. It is old."),
    ],
)
def test_a_block_without_a_sentence(start, text, rest):
    block = Block(
        "Zürich lies on a lake. It is old. It is rich.",
        "Zürich",
        "1",
        7,
        sentence_starts=(0, 24, 35),
    )
    assert without_sentence(sentence_of(block, start, text)) == Block(
        rest, "Zürich", "1"
    )


def test_the_own_block_is_kept_where_something_is_left_of_it():
    own = Block("It is old. It is rich.", "a", "1", 0)
    copy = Block(own.text, own.title, "2", 5)
    neighbour = Block("c", "a", "1", 1)
    candidates = NullBlockAlone(None)
    candidates.count, candidates.cut_own_block = 2, True
    candidates.exclude_neighbours = True
    sentence = sentence_of(own, 0, "It is old.")
    usable = candidates.usable(sentence, [neighbour, copy, own])
    assert usable == [Block("It is rich.", "a", "1")]
    alone = Block("It is old.", "a", "1", 0)
    assert not candidates.usable(sentence_of(alone, 0, "It is old."), [alone])
