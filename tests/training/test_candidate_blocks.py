import numpy as np
import pytest

from realm_tf.data.blocks import Block
from realm_tf.data.sentence_masks import Draw
from realm_tf.training.candidate_blocks import MaskedSentence, NullBlockAlone


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
    sentence = MaskedSentence(own, Draw(0, "b"), np.zeros(1), np.zeros(1))
    candidates = NullBlockAlone(None)
    candidates.count, candidates.exclude_neighbours = 2, exclude
    usable = candidates.usable(sentence, blocks)
    assert [block.block_id for block in usable] == expected
