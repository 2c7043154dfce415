import collections
import re

import numpy as np
import pytest

from realm_tf._constants import MASKS
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.salient_spans import tag_corpus
from realm_tf.data.spans.sentence_masks import (
    Draw,
    RandomSpanMasks,
    RandomTokenMasks,
    RecurringSpanMasks,
    SalientSpanMasks,
    make_masks,
)
from realm_tf.errors import FolderError

TEXT = "Zoë was in Ōsaka. In 1815 she left."
SECOND = len("Zoë was in Ōsaka. ".encode())
BLOCK = Block(TEXT, block_id=0, sentence_starts=(0, SECOND))


class Spans:
    """Three spans, one of them listed twice."""

    def spans(self, block_id):
        if block_id:
            return []
        return [
            SalientSpan(0, 4, "PER"),
            SalientSpan(0, 4, "X"),
            SalientSpan(12, 18, "LOC"),
            SalientSpan(SECOND + 3, SECOND + 7, "DATE"),
        ]


def test_every_distinct_span_is_as_likely():
    masks = SalientSpanMasks(Spans())
    rng = np.random.default_rng(0)
    counts = collections.Counter()
    for _ in range(900):
        draw = masks.draw(BLOCK, rng)
        start, end = draw.span
        assert TEXT.encode()[draw.start :].startswith(draw.text.encode())
        counts[draw.text.encode()[start:end].decode()] += 1
    assert set(counts) == {"Zoë", "Ōsaka", "1815"}
    # 300 each; three standard deviations are 43.
    assert max(abs(count - 300) for count in counts.values()) < 60


def test_a_block_without_spans_gives_nothing():
    masks = SalientSpanMasks(Spans())
    rng = np.random.default_rng(0)
    assert masks.draw(Block("x", block_id=1), rng) is None


def test_a_span_that_crosses_sentences_gives_nothing():
    class Crossing:
        def spans(self, block_id):
            return [SalientSpan(12, SECOND + 2, "X")]

    rng = np.random.default_rng(0)
    assert SalientSpanMasks(Crossing()).draw(BLOCK, rng) is None


def test_only_whole_wordpieces_of_the_span_are_masked():
    masks = SalientSpanMasks(Spans())
    starts, ends = np.array([0, 4, 6, 9]), np.array([4, 6, 9, 12])
    rng = np.random.default_rng(0)
    for span, expected in (
        ((4, 9), [1, 2]),
        ((5, 9), [2]),
        ((5, 8), []),
        ((0, 12), [0, 1, 2, 3]),
    ):
        places = masks.places(Draw(0, "", span), starts, ends, rng)
        assert places.tolist() == expected


class Names:
    """Every capitalised word is a span."""

    def __init__(self, blocks):
        self.texts = {block.block_id: block.text for block in blocks}

    def spans(self, block_id):
        words = re.finditer(r"[A-ZŌ]\w+", self.texts[block_id])
        return [
            SalientSpan(
                *(len(self.texts[block_id][:i].encode()) for i in m.span()), ""
            )
            for m in words
        ]


def test_recurring_spans_are_those_that_another_block_has():
    texts = ["in Ōsaka and Rome", "to Ōsaka, Ōsaka", "by ŌSAKA", "of Bonn"]
    blocks = [
        Block(text, block_id=i, sentence_starts=(0,))
        for i, text in enumerate(texts)
    ]
    masks = RecurringSpanMasks(Names(blocks), blocks)
    rng = np.random.default_rng(0)
    for block, others in zip(blocks[:3], ([1, 2], [0, 2], [0, 1]), strict=True):
        for _ in range(5):
            draw = masks.draw(block, rng)
            span = draw.text.encode()[slice(*draw.span)].decode()
            assert span.lower() == "ōsaka"
            assert masks.holders(block, draw) == others
    assert masks.draw(blocks[3], rng) is None
    # Three wordpieces may end with the ninth byte, before the first's span.
    short = RecurringSpanMasks(Names(blocks), blocks, block_length=3)
    assert short.holders(blocks[0], masks.draw(blocks[0], rng)) == [1, 2]
    shorter = RecurringSpanMasks(Names(blocks), blocks, block_length=2)
    assert shorter.draw(blocks[0], rng) is None


@pytest.mark.parametrize("masks", [RandomTokenMasks, RandomSpanMasks])
def test_random_masks_take_their_share(masks):
    rng = np.random.default_rng(0)
    for length, rate, count in ((40, 0.15, 6), (3, 0.15, 1), (0, 0.15, 0)):
        starts = np.arange(length)
        places = masks(rate).places(Draw(0, ""), starts, starts + 1, rng)
        assert len(set(places.tolist())) == count
        assert places.tolist() == sorted(places)
        assert all(0 <= place < length for place in places)


def test_random_spans_have_neighbours_and_random_tokens_have_few():
    def neighbours(masks):
        rng = np.random.default_rng(0)
        starts = np.arange(100)
        rows = [
            masks.places(Draw(0, ""), starts, starts + 1, rng)
            for _ in range(50)
        ]
        return np.mean([np.mean(np.diff(row) == 1) for row in rows])

    assert neighbours(RandomSpanMasks()) > 0.6
    assert neighbours(RandomTokenMasks()) < 0.3


def test_random_sentences_are_whole_sentences():
    rng = np.random.default_rng(0)
    draws = {RandomTokenMasks().draw(BLOCK, rng) for _ in range(30)}
    assert draws == {
        Draw(0, "Zoë was in Ōsaka."),
        Draw(SECOND, "In 1815 she left."),
    }


def test_a_passage_is_as_many_whole_sentences_as_fit():
    sentences = ["Ōne. ", "Two is longer. ", "Three. ", "Four."]
    sizes = [len(sentence.encode()) for sentence in sentences]
    starts = tuple(int(start) for start in np.cumsum([0, *sizes[:-1]]))
    block = Block("".join(sentences), block_id=0, sentence_starts=starts)
    rng = np.random.default_rng(0)
    for most, expected in (
        (0, set(sentences)),
        (sum(sizes[2:]), {"Ōne. ", "Two is longer. ", "Three. Four."}),
        (
            sum(sizes[1:3]),
            {"Ōne. Two is longer. ", "Two is longer. Three. ", "Three. Four."},
        ),
        (sum(sizes), {"".join(sentences)}),
    ):
        masks = RandomTokenMasks(passage_bytes=most)
        draws = {masks.draw(block, rng) for _ in range(60)}
        assert {draw.text for draw in draws} == {t.rstrip() for t in expected}
        for draw in draws:
            raw = block.text.encode()[draw.start :]
            assert raw.startswith(draw.text.encode())


@pytest.fixture
def tagged(city_corpus, tmp_path):
    path = tmp_path / "spans"
    tag_corpus(city_corpus, DateNumberTagger(), path)
    return path


def test_masks_are_those_of_their_name(city_corpus, tagged):
    made = {kind: type(make_masks(kind, city_corpus, tagged)) for kind in MASKS}
    assert made == {
        "salient": SalientSpanMasks,
        "recurring": RecurringSpanMasks,
        "random-tokens": RandomTokenMasks,
        "random-spans": RandomSpanMasks,
    }
    passages = make_masks("random-spans", city_corpus, passage_bytes=99)
    assert passages.description["passage_bytes"] == 99


def test_masks_that_cannot_be_made_are_refused(city_corpus, tagged, tmp_path):
    with pytest.raises(ValueError, match="kind='salent'"):
        make_masks("salent", city_corpus)
    with pytest.raises(ValueError, match="passage_bytes=9, kind='recurring'"):
        make_masks("recurring", city_corpus, tagged, passage_bytes=9)
    with pytest.raises(FolderError, match="none"):
        make_masks("salient", city_corpus, tmp_path / "none")
