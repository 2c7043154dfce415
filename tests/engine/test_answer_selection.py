import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_tf.data.corpus.answer import Evidence
from realm_tf.data.corpus.blocks import Block
from realm_tf.engine.answer_selection import answer_specs, select_answers
from realm_tf.engine.numpy_answers import select_answers as select_in_python
from realm_tf.layers.spans import span_positions

WIDTH, LENGTH, ANSWERS = 3, 8, 4
NUM_SPANS = len(span_positions(LENGTH, WIDTH)[0])
WORDS = ("a", "The", "emma", "Emma", "ΟΔΟΣ", "οδος", "é", "E\u0301", "?", "1")


@tf.function(autograph=False)
def select(span_logits, scores, starts, ends, texts):
    return select_answers(
        span_logits,
        scores,
        starts,
        ends,
        texts,
        max_span_width=WIDTH,
        num_answers=ANSWERS,
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
    evidence = Evidence(
        question="?",
        blocks=tuple(Block(text, block_id=i) for i, text in enumerate(texts)),
        retrieval_logits=scores,
        truncated=False,
    )
    return select_in_python(
        evidence,
        logits,
        starts,
        ends,
        max_span_width=WIDTH,
        num_answers=ANSWERS,
    )


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
    for name in ("text", "byte_start", "byte_end"):
        want = [getattr(span, name) for span in spans]
        found = got[name].tolist()
        if name == "text":
            found = [text.decode() for text in found]
        assert found == want + ([""] if name == "text" else [0]) * missing
    want = [span.block.block_id for span in spans] + [-1] * missing
    assert got["block_position"].tolist() == want
    for name in (
        "probability",
        "retrieval_probability",
        "reading_probability",
    ):
        want = [getattr(span, name) for span in spans] + [0] * missing
        np.testing.assert_allclose(got[name], want, atol=1e-6)


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
