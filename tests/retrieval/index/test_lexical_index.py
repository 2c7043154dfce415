import collections

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.retrieval.index.lexical_index import LexicalIndex, searched_text
from realm_tf.retrieval.searchers.lexical_searcher import LexicalSearcher

NOTHING = np.empty(0, np.int64)
MAIN = [Block(f"emma lives in house {i}", f"title {i}") for i in range(30)]
ADDED = [
    Block("emma and harriet", "new"),
    Block("nothing", "other"),
    Block("house 7 emma emma", "new"),
]


@pytest.fixture
def lexical(tmp_path):
    texts = map(searched_text, MAIN)
    return LexicalIndex(LexicalSearcher.build(texts, tmp_path / "a"))


def test_an_added_block_scores_as_it_would_in_the_version(lexical):
    ids = np.arange(30)
    expected = lexical.score("Emma house 7", ids, added=())
    added = [MAIN[7], MAIN[8]]
    found = lexical.score("Emma house 7", np.array([30, 31]), added=added)
    np.testing.assert_allclose(found, expected[7:9], rtol=1e-5)
    # and changes no score of another block
    again = lexical.score("Emma house 7", ids, added=added)
    np.testing.assert_array_equal(again, expected)


def test_search_merges_added_blocks(lexical):
    found = lexical.search("house 7 emma", 3, added=ADDED, hidden=NOTHING)
    assert set(found.block_ids[0, :2].tolist()) == {7, 32}
    scores = lexical.score("house 7 emma", found.block_ids[0], added=ADDED)
    np.testing.assert_array_equal(found.scores[0], scores)


def test_hidden_blocks_are_not_found(lexical):
    hidden = np.array([7, 32])
    found = lexical.search("house 7 emma", 40, added=ADDED, hidden=hidden)
    ids = found.block_ids[0]
    assert 30 in ids
    assert not np.isin(ids, hidden).any()
    assert 31 not in ids  # it shares no word


def test_a_word_that_only_an_added_block_holds_finds_it(lexical):
    found = lexical.search("Harriet", 2, added=ADDED, hidden=NOTHING)
    assert found.block_ids.tolist() == [[30, -1]]


def test_a_search_sees_as_many_added_blocks_as_it_names(lexical):
    lexical.score("emma", NOTHING, added=ADDED)
    found = lexical.search("Harriet", 2, added=ADDED[:0], hidden=NOTHING)
    assert found.block_ids.tolist() == [[-1, -1]]
    found = lexical.search("emma", 40, added=ADDED[:1], hidden=NOTHING)
    assert 30 in found.block_ids and 32 not in found.block_ids


def test_an_interrupt_between_two_words_counts_none_twice(lexical, monkeypatch):
    class Interrupted(collections.Counter):
        def items(self):
            yield from [*super().items()][:2]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(collections, "Counter", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            lexical.score("emma", NOTHING, added=ADDED)
    found = lexical.score("new emma", np.array([30, 32]), added=ADDED)
    fresh = LexicalIndex(lexical._searcher)
    expected = fresh.score("new emma", np.array([30, 32]), added=ADDED)
    np.testing.assert_array_equal(found, expected)
