import json
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from realm_tf.data.corpus.blocks import (
    Article,
    group_sentences,
    split_into_blocks,
    tokenize_articles,
)

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
WIKI = [
    article
    for article in json.loads((FIXTURES / "wiki_blocks.json").read_text())
    if not article["removed"]  # by its title: see test_article_formats.py
]


@pytest.mark.parametrize("max_wordpieces", [288, 64, 20])
@pytest.mark.parametrize("article", WIKI, ids=lambda a: a["title"] or "none")
def test_groups_equal_the_official_blocks(article, max_wordpieces):
    groups = group_sentences(
        article["sentence_num_tokens"],
        article["title_num_tokens"],
        max_wordpieces,
    )
    blocks = [" ".join(article["sentences"][group]) for group in groups]
    assert blocks == article["blocks"][str(max_wordpieces)]


def test_blocks_hold_whole_sentences_and_their_bytes(featurizer):
    text = "Été. Emma  is here.\n\nIt is  long."
    article = Article("1", "Emma", text)
    [block] = split_into_blocks(article, featurizer)
    assert block.text == "Été. Emma  is here. It is  long."
    assert (block.title, block.document_id) == ("Emma", "1")
    assert block.block_id == -1
    assert block.sentence_starts == (0, 7, 22)
    assert block.article_starts == (0, 7, 23)


def test_title_and_special_tokens_count(featurizer):
    text = "It is. It is. It is."  # 3 wordpieces each
    lengths = {
        title: len(
            split_into_blocks(
                Article("1", title, text), featurizer, max_wordpieces=12
            )
        )
        for title in ("", "the", "the the the the")
    }
    assert lengths == {"": 1, "the": 2, "the the the the": 3}


def test_over_long_sentence_is_cut_so_that_all_of_it_is_read(featurizer):
    text = "It is. " + "the " * 30 + "end. It is."
    article = Article("1", "", text)
    [blocks] = tokenize_articles([article], featurizer, 12)
    words = [len(tokenized.block.text.split()) for tokenized in blocks]
    assert words == [2, 9, 9, 9, 6]  # the last: "the the the end. It is."
    assert [tokenized.num_cut for tokenized in blocks] == [0, 1, 1, 1, 0]
    assert " ".join(t.block.text for t in blocks) == text
    for block, _, token_ids, _ in blocks:
        found = featurizer.tokenize([block.text]).ids
        np.testing.assert_array_equal(found, token_ids)
        assert len(token_ids) <= 9
        for start, place in zip(
            block.sentence_starts, block.article_starts, strict=True
        ):
            assert block.text[start : start + 3] == text[place : place + 3]


def test_text_without_spaces_is_cut_between_words(featurizer):
    text = "é,the" * 20
    [blocks] = tokenize_articles([Article("1", "", text)], featurizer, 13)
    assert "".join(tokenized.block.text for tokenized in blocks) == text
    for block, _, token_ids, _ in blocks:
        found = featurizer.tokenize([block.text]).ids
        np.testing.assert_array_equal(found, token_ids)
        assert len(token_ids) <= 10


def test_a_title_that_leaves_no_room_cuts_nothing(featurizer):
    article = Article("1", "the " * 20, "It is the end.")
    assert len(split_into_blocks(article, featurizer, max_wordpieces=12)) == 1


@pytest.mark.parametrize("text", ["", "\n \n", "\x00\x01", "\u200b"])
def test_text_without_wordpieces_has_no_block(featurizer, text):
    assert split_into_blocks(Article("1", "Emma", text), featurizer) == []


def test_many_articles_equal_one_by_one(featurizer, articles):
    together = list(tokenize_articles(articles, featurizer, 32))
    for article, blocks in zip(articles, together, strict=True):
        [alone] = tokenize_articles([article], featurizer, 32)
        assert len(alone) == len(blocks) > 1
        for one, other in zip(alone, blocks, strict=True):
            assert one.block == other.block
            np.testing.assert_array_equal(one.title_ids, other.title_ids)
            np.testing.assert_array_equal(one.token_ids, other.token_ids)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(
    title=strategies.sampled_from(["", "Emma", "Été 高"]),
    text=strategies.text(
        alphabet='theE é1.?!\n"高。😀\u0301\u200f\x00', max_size=300
    ),
    max_wordpieces=strategies.integers(8, 40),
)
def test_blocks_have_their_properties(featurizer, title, text, max_wordpieces):
    article = Article("1", title, text)
    [blocks] = tokenize_articles([article], featurizer, max_wordpieces)
    raw = text.encode()
    for block, title_ids, token_ids, _ in blocks:
        data = block.text.encode()
        ends = [*(start - 1 for start in block.sentence_starts[1:]), len(data)]
        sentences = [
            data[start:end]
            for start, end in zip(block.sentence_starts, ends, strict=True)
        ]
        assert b" ".join(sentences).decode() == block.text
        for start, sentence in zip(
            block.article_starts, sentences, strict=True
        ):
            assert raw[start : start + len(sentence)] == sentence
        length = 3 + len(title_ids) + len(token_ids)
        assert length <= max_wordpieces or _num_long(
            featurizer, sentences, max_wordpieces - 3 - len(title_ids)
        )
        tokens = featurizer.tokenize([title, block.text])
        np.testing.assert_array_equal(title_ids, tokens.row(0)[0])
        np.testing.assert_array_equal(token_ids, tokens.row(1)[0])


def _num_long(featurizer, sentences, budget):
    """1 if one sentence alone passes the budget, and no other has a token."""
    texts = [sentence.decode() for sentence in sentences]
    lengths = np.diff(featurizer.tokenize(texts).row_splits)
    return (lengths > budget).sum() == (lengths > 0).sum() == 1
