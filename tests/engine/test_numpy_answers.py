import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realm_tf.engine.numpy_answers import select_answers

from realm_tf.data.corpus.answer import Answer, Evidence
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.packing import trim_joint
from realm_tf.layers.spans import span_mask, span_positions

NO_SPAN = -1e9
LOG2, LOG3, LOG4 = np.log([2, 3, 4])


def evidence(texts, retrieval_logits, **options):
    return Evidence(
        question="which?",
        blocks=tuple(Block(text, block_id=i) for i, text in enumerate(texts)),
        retrieval_logits=np.array(retrieval_logits, np.float32),
        truncated=False,
        **options,
    )


def select(known, span_logits, starts, ends, num_answers=5, max_span_width=2):
    return select_answers(
        known,
        np.array(span_logits, np.float32),
        np.array(starts, np.int32),
        np.array(ends, np.int32),
        max_span_width=max_span_width,
        num_answers=num_answers,
    )


# Spans of two wordpieces, in order: the first, the second, both.
RED_FOX = ([0, 4], [3, 7])
FOX = ([0, 0], [3, 0])


@pytest.fixture
def foxes():
    """Answers from "red fox" and "Fox!", and from a third block not read.

    p(z | x) = 3/5, 1/5, 1/5. Weights exp(span logit + retrieval logit), of
    the two blocks that were read:

        red 3 x 1    fox 3 x 2    red fox 3 x 1    Fox 1 x 4    sum 16
    """
    return select(
        evidence(["red fox", "Fox!", "blue"], [LOG3, 0, 0]),
        [[0, LOG2, 0], [LOG4, NO_SPAN, NO_SPAN]],
        [RED_FOX[0], FOX[0]],
        [RED_FOX[1], FOX[1]],
    )


def test_spans_that_normalise_alike_are_summed(foxes):
    assert [span.text for span in foxes] == ["fox", "red", "red fox"]
    np.testing.assert_allclose(
        [span.probability for span in foxes], [10 / 16, 3 / 16, 3 / 16], 1e-6
    )


def test_retrieval_probability_is_over_all_that_was_retrieved(foxes):
    for span in foxes:
        np.testing.assert_allclose(span.retrieval_probability, 3 / 5, 1e-6)


def test_reading_probability_is_over_the_spans_of_the_block(foxes):
    np.testing.assert_allclose(
        [span.reading_probability for span in foxes], [1 / 2, 1 / 4, 1 / 4]
    )


def test_best_place_of_an_answer_is_its_evidence(foxes):
    fox = foxes[0]
    assert (fox.block.text, fox.start, fox.end) == ("red fox", 4, 7)
    assert (fox.byte_start, fox.byte_end) == (4, 7)


def test_ties_go_to_the_better_block_then_the_shorter_then_the_left():
    spans = select(
        evidence(["a1 b1", "a2 b2"], [0, 0]),
        np.zeros((2, 3)),
        [[0, 3], [0, 3]],
        [[2, 5], [2, 5]],
        num_answers=9,
    )
    assert [span.text for span in spans] == [
        "a1", "b1", "a1 b1", "a2", "b2", "a2 b2"
    ]  # fmt: skip


def test_number_of_answers_is_limited(foxes):
    assert len(foxes) == 3
    known = evidence(["red fox"], [0])
    spans = select(known, np.zeros((1, 3)), [RED_FOX[0]], [RED_FOX[1]], 2)
    assert [span.text for span in spans] == ["red", "fox"]


def test_answers_without_letters_stay_apart():
    # Both normalise to nothing.
    known = evidence(["? !"], [0])
    spans = select(known, [[LOG2, 0, NO_SPAN]], [[0, 2]], [[1, 3]])
    assert [span.text for span in spans] == ["?", "!"]
    np.testing.assert_allclose(spans[0].probability, 2 / 3, 1e-6)


def test_no_possible_span_gives_no_answer():
    known = evidence(["red fox"], [0])
    starts, ends = RED_FOX
    spans = select(known, np.full((1, 3), NO_SPAN), [starts], [ends])
    assert spans == []
    assert Answer.of(known, spans, 0.0) == Answer.none(known, 0.0)


def test_many_equal_spans_have_a_probability_of_at_most_one():
    known = evidence(["a a a a"], [0])
    starts, ends = [[0, 2, 4, 6]], [[1, 3, 5, 7]]
    [span] = select(known, np.zeros((1, 4)), starts, ends, max_span_width=1)
    assert span.text == "a"
    assert 1 - 1e-6 < span.probability <= 1


WORDS = st.sampled_from(
    [
        "red", "fox", "café", "Größe", "naïve", "cafe\u0301", "北京", "日本",
        "😀", "👩‍👩‍👧", "Ａ１", "ﬁn", "½", "İstanbul", "ß", "עברית", "हिन्दी",
        "a\u0300b", "x\u200by", "\u00ad", "1,000", "U.S.A.", "don't", "€5",
    ]
)  # fmt: skip
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(TEXTS | st.text(min_size=1, max_size=30), max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_answer_is_a_slice_of_its_block(short_featurizer, texts, seed):
    texts = [*texts, "a red fox"]
    joint = short_featurizer.joint(
        ["which?"] * len(texts), ["title"] * len(texts), texts
    )
    joint = trim_joint({k: v.numpy() for k, v in joint.items()}, 3)
    rng = np.random.default_rng(seed)
    mask = span_mask(joint["block_mask"], 3).numpy()
    logits = np.where(mask, rng.normal(0, 5, mask.shape), NO_SPAN)
    first, _ = span_positions(joint["starts"].shape[-1], 3)
    assert logits.shape[-1] == len(first)
    known = evidence(texts, rng.normal(size=len(texts)))
    spans = select(known, logits, joint["starts"], joint["ends"], 99, 3)
    assert spans
    for span in spans:
        text = span.block.text
        assert text[span.start : span.end] == span.text
        encoded = text.encode()
        assert encoded[span.byte_start : span.byte_end].decode() == span.text
        assert 0 < span.probability <= 1
    assert sum(span.probability for span in spans) <= 1 + 1e-5
