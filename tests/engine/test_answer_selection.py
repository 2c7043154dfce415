import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_tf.data.corpus.answer import Evidence, Span
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.answer_normalization import merge_key
from realm_tf.engine.answer_selection import answer_specs, select_answers
from realm_tf.layers.spans import span_positions

WIDTH, LENGTH, ANSWERS = 3, 8, 4
NUM_SPANS = len(span_positions(LENGTH, WIDTH)[0])
WORDS = ("a", "The", "emma", "Emma", "ΟΔΟΣ", "οδος", "é", "E\u0301", "?", "1")


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None]),
        tf.TensorSpec([None]),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None]),
        tf.TensorSpec([None], tf.string),
    ],
    autograph=False,
)
def select_sorted(logits, norms, byte_starts, byte_ends, scores, texts):
    is_there = tf.ones(tf.shape(norms), tf.bool)
    return select_answers(
        logits,
        norms,
        byte_starts,
        byte_ends,
        is_there,
        scores,
        texts,
        num_answers=ANSWERS,
    )


def select(span_logits, scores, starts, ends, texts):
    """`select_answers`, given all spans of each block."""
    first, last = span_positions(LENGTH, WIDTH)
    order = np.argsort(-span_logits, axis=1, kind="stable")
    weights = np.exp(span_logits.astype(np.float64)).sum(axis=1)
    return select_sorted(
        np.take_along_axis(span_logits, order, 1),
        np.log(np.maximum(weights, 1e-300)).astype(np.float32),
        np.take_along_axis(starts[:, first], order, 1),
        np.take_along_axis(ends[:, last], order, 1),
        scores,
        texts,
    )


def make_block(words):
    """Text of a block, and the bytes where its wordpieces are."""
    text = " ".join(words)
    starts, ends = np.zeros(LENGTH, np.int32), np.zeros(LENGTH, np.int32)
    place = 0
    for i, word in enumerate(words):
        starts[i], ends[i] = place, place + len(word.encode())
        place = ends[i] + 1
    return text, starts, ends


def make_case(blocks, seed):
    rng = np.random.default_rng(seed)
    texts, starts, ends = zip(*map(make_block, blocks), strict=True)
    # Few distinct values, so that there are ties.
    logits = rng.integers(-2, 3, (len(blocks), NUM_SPANS)).astype(np.float32)
    first, last = span_positions(LENGTH, WIDTH)
    for row, words in enumerate(blocks):
        logits[row, (first >= len(words)) | (last >= len(words))] = -1e9
    scores = np.sort(rng.integers(0, 3, len(blocks)))[::-1].astype(np.float32)
    return logits, scores, np.stack(starts), np.stack(ends), list(texts)


def python_answers(logits, scores, starts, ends, texts):
    """The same by the formulas, in float64: each span of each block."""
    evidence = Evidence(
        question="?",
        blocks=tuple(Block(text, block_id=i) for i, text in enumerate(texts)),
        retrieval_logits=scores,
        truncated=False,
    )
    first, last = span_positions(LENGTH, WIDTH)
    logits = logits.astype(np.float64)
    weights = np.exp(logits + scores[:, None])
    total = weights.sum()
    best, totals, places = {}, {}, {}
    for place in np.argsort(-(logits + scores[:, None]).ravel(), kind="stable"):
        z, span = divmod(place, NUM_SPANS)
        if logits[z, span] < -1e8:
            break
        start, end = int(starts[z, first[span]]), int(ends[z, last[span]])
        text = texts[z].encode()[start:end].decode()
        key = merge_key(text)
        reading = weights[z, span] / weights[z].sum()
        best.setdefault(key, (evidence.blocks[z], start, end, z, reading))
        totals[key] = totals.get(key, 0.0) + weights[z, span] / total
        places.setdefault(key, []).append((z, start, end))
    # Equal sums of equal numbers, added in another order, still tie.
    ranked = sorted(totals, key=lambda key: -round(totals[key], 12))
    ranked = without_overlaps(ranked, best, places)[:ANSWERS]
    return [
        Span.cut(
            *best[key][:3],
            retrieval_probability=evidence.probabilities[best[key][3]],
            reading_probability=best[key][4],
            probability=totals[key],
        )
        for key in ranked
    ]


def without_overlaps(ranked, best, places):
    listed = []
    for key in ranked:
        _, start, end, z, _ = best[key]
        taken = [place for other in listed for place in places[other]]
        if not any(z == b and s < end and start < e for b, s, e in taken):
            listed.append(key)
    return listed


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(WORDS), max_size=LENGTH),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 1000),
)
def test_answers_are_those_of_python(blocks, seed):
    case = make_case(blocks, seed)
    spans = python_answers(*case)
    got = {name: value.numpy() for name, value in select(*case).items()}
    missing = ANSWERS - len(spans)
    for name in ("probability", "retrieval_probability", "reading_probability"):
        want = [getattr(span, name) for span in spans] + [0] * missing
        if name == "probability":
            np.testing.assert_allclose(got[name], want, atol=1e-6)
            # Where two answers tie, either may come first.
            if np.diff(want, prepend=2).max() > -1e-5:
                return
        np.testing.assert_allclose(got[name], want, atol=1e-6)
    texts = [text.decode() for text in got["text"].tolist()]
    assert texts == [span.text for span in spans] + [""] * missing
    for name in ("byte_start", "byte_end"):
        want = [getattr(span, name) for span in spans] + [0] * missing
        assert got[name].tolist() == want
    want = [span.block.block_id for span in spans] + [-1] * missing
    assert got["block_position"].tolist() == want


def spans_of(blocks, probabilities):
    """A case in which only the named spans of blocks have a probability.

    Args:
        blocks: lists of words.
        probabilities: (block, first word, last word) -> probability.
    """
    logits, scores, starts, ends, texts = make_case(blocks, 0)
    first, last = span_positions(LENGTH, WIDTH)
    logits[:] = -1e9
    for (block, start, end), probability in probabilities.items():
        span = np.flatnonzero((first == start) & (last == end))
        logits[block, span] = np.log(probability)
    return logits, 0 * scores, starts, ends, texts


def listed(case):
    answers = select(*case)
    texts = [text.decode() for text in answers["text"].numpy()]
    found = zip(texts, answers["probability"].numpy().tolist(), strict=True)
    return [(text, round(p, 6)) for text, p in found if text]


def test_temperature_takes_the_root_of_probabilities():
    answers = select_answers(
        logits=tf.math.log([[0.8, 0.2], [0.6, 0.4]]),
        norms=tf.math.log(
            [0.8**0.5 + 0.2**0.5, 0.6**0.5 + 0.4**0.5]
        ),  # at temperature 2
        byte_starts=tf.constant([[0, 2], [0, 2]]),
        byte_ends=tf.constant([[1, 3], [1, 3]]),
        is_there=tf.constant([True, True]),
        scores=tf.math.log([0.75, 0.25]),
        texts=tf.constant(["1 2", "3 4"]),
        num_answers=4,
        temperature=2.0,
    )
    joint = np.array([0.75 * 0.8, 0.75 * 0.2, 0.25 * 0.6, 0.25 * 0.4]) ** 0.5
    assert answers["text"].numpy().tolist() == [b"1", b"2", b"3", b"4"]
    np.testing.assert_allclose(
        answers["probability"], joint / joint.sum(), atol=1e-6
    )
    reading = np.array([0.8**0.5, 0.2**0.5]) / (0.8**0.5 + 0.2**0.5)
    np.testing.assert_allclose(
        answers["reading_probability"][:2], reading, atol=1e-6
    )
    # p(z | x) has no temperature.
    np.testing.assert_allclose(
        answers["retrieval_probability"], [0.75, 0.75, 0.25, 0.25], atol=1e-6
    )


def test_overlapping_spans_are_no_other_answers():
    words = "inventor Adolphe Sax in 1840".split()
    case = spans_of(
        [words],
        {
            (0, 1, 2): 0.4,  # Adolphe Sax
            (0, 0, 2): 0.3,  # inventor Adolphe Sax
            (0, 2, 4): 0.2,  # Sax in 1840
            (0, 4, 4): 0.1,  # 1840: overlaps what is not listed alone
        },
    )
    # The .3 and .2 go to no other answer.
    assert listed(case) == [("Adolphe Sax", 0.4), ("1840", 0.1)]


def test_same_place_in_another_block_is_another_answer():
    case = spans_of(
        [["Emma", "1"], ["é", "1"]], {(0, 0, 1): 0.6, (1, 0, 1): 0.4}
    )
    assert listed(case) == [("Emma 1", 0.6), ("é 1", 0.4)]


def test_every_place_of_an_answer_is_taken():
    case = spans_of(
        [["Emma", "1"], ["1", "Emma"]],
        {
            (0, 0, 0): 0.5,  # Emma
            (1, 1, 1): 0.1,  # Emma
            (1, 0, 1): 0.3,  # 1 Emma: overlaps the Emma of its block
            (1, 0, 0): 0.1,  # 1
        },
    )
    assert listed(case) == [("Emma", 0.6), ("1", 0.1)]


def test_an_answer_with_a_better_place_elsewhere_stays():
    case = spans_of(
        [["Emma", "1"], ["1"]],
        {(0, 0, 1): 0.55, (0, 1, 1): 0.05, (1, 0, 0): 0.4},
    )
    # "1" is read in the second block; that in the first counts too.
    assert listed(case) == [("Emma 1", 0.55), ("1", 0.45)]


def test_no_blocks_give_padding_only():
    empty = np.zeros((0, LENGTH), np.int32)
    answers = select(
        np.zeros((0, NUM_SPANS), np.float32),
        np.zeros(0, np.float32),
        empty,
        empty,
        tf.zeros([0], tf.string),
    )
    assert answers["block_position"].numpy().tolist() == [-1] * ANSWERS
    for name, spec in answer_specs(ANSWERS).items():
        assert spec.is_compatible_with(answers[name])


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a\xc3("])
def test_bytes_that_are_no_text_become_text(raw):
    logits = np.full((1, NUM_SPANS), -1e9, np.float32)
    logits[0, 0] = 0.0
    starts, ends = np.zeros((2, 1, LENGTH), np.int32)
    ends[0, 0] = len(raw)
    scores = np.zeros(1, np.float32)
    answers = select(logits, scores, starts, ends, tf.constant([raw]))
    assert "\ufffd" in answers["text"][0].numpy().decode()
    assert float(answers["probability"][0]) == pytest.approx(1.0)
