import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.answer_normalization import merge_key
from realm_tf.engine.engine import MISSING_SCORE
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.spans import span_positions


def make(qa, num_answers=3, **options):
    return ReadingModule(
        qa.reader,
        qa.featurizer,
        num_answers=num_answers,
        fingerprint="abc",
        **options,
    )


def read(module, answers, scores, num_answers=3):
    return module.texts(
        tf.constant([answer.question for answer in answers]),
        tf.constant([[b.title for b in answer.blocks] for answer in answers]),
        tf.constant([[b.text for b in answer.blocks] for answer in answers]),
        tf.constant(scores),
        num_answers,
    )


def test_signature_has_the_documented_names_and_shapes(qa):
    (serve,) = make(qa).signatures.values()
    names = ["question", "block_titles", "block_texts", "retrieval_scores"]
    specs, _ = serve.structured_input_signature
    assert [spec.name for spec in specs] == names
    outputs = serve.structured_outputs
    assert outputs.pop("fingerprint").shape.as_list() == [None]
    assert outputs.pop("threshold").shape.as_list() == [None]
    assert set(outputs) == {
        "text",
        "block_position",
        "byte_start",
        "byte_end",
        "retrieval_probability",
        "reading_probability",
        "probability",
    }
    assert {tuple(o.shape.as_list()) for o in outputs.values()} == {(None, 3)}


def test_missing_blocks_change_no_answer(qa, questions):
    (answer,) = qa.predict(questions[:1], num_read=2, num_retrieved=2)
    scores = qa.search(questions[:1], 2).scores[0].tolist()
    module = make(qa)
    want = read(module, [answer], [scores])
    missing = Block("Padding 1888.")
    for blocks, padded, place in (
        ((*answer.blocks, missing), [*scores, MISSING_SCORE], 0),
        ((missing, *answer.blocks), [float("nan"), *scores], 1),
    ):
        other = dataclasses.replace(answer, blocks=blocks)
        got = read(module, [other], [padded])
        for name, value in want.items():
            expected = value + place if name == "block_position" else value
            if value.dtype == tf.float32:
                np.testing.assert_allclose(got[name], value, atol=1e-6)
            else:
                np.testing.assert_array_equal(got[name], expected)


def test_nothing_to_read_gives_padding_only(qa, questions):
    (answer,) = qa.predict(questions[:1])
    found = read(make(qa), [answer], [[float("-inf")] * 5])
    assert found["block_position"].numpy().tolist() == [[-1, -1, -1]]
    assert found["text"].numpy().tolist() == [[b"", b"", b""]]
    np.testing.assert_array_equal(found["probability"], np.zeros((1, 3)))


@pytest.mark.parametrize("question", ["", " ?! ", "\u200b—", "。"])
def test_question_without_letter_or_digit_has_no_answer(
    qa, questions, question
):
    (answer,) = qa.predict(questions[:1])
    other = dataclasses.replace(answer, question=question)
    found = read(make(qa), [answer, other], [[0.0] * 5] * 2)
    assert (found["block_position"].numpy()[0] >= 0).any()
    assert found["block_position"].numpy()[1].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("size", [3e38, -9e29])
def test_largest_scores_leave_room_for_the_reader(qa, questions, size):
    (answer,) = qa.predict(questions[:1])
    module, num_blocks = make(qa), len(answer.blocks)
    want = read(module, [answer], [[0.0] * num_blocks])
    got = read(module, [answer], [[size] * num_blocks])
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)
    alone = [0.0] * num_blocks
    alone[1] = 3e38
    found = read(module, [answer], [alone])
    assert set(found["block_position"].numpy()[0].tolist()) <= {1, -1}


def test_blocks_without_a_token_have_no_answer(qa, questions):
    (answer,) = qa.predict(questions[:1])
    answer = dataclasses.replace(answer, blocks=(Block(" "), Block("")))
    found = read(make(qa), [answer], [[1.0, 0.0]])
    assert found["block_position"].numpy().tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("token_budget", [1, 200, None])
def test_answers_do_not_depend_on_how_they_are_computed(
    qa, questions, token_budget, jit_compile
):
    answers = qa.predict(questions[:3], num_alternatives=2)
    scores = qa.search(questions[:3], qa.num_read).scores
    module = make(qa, jit_compile=jit_compile, token_budget=token_budget)
    got = read(module, answers, scores)
    spans = [[answer, *answer.alternatives] for answer in answers]
    texts = [[text.decode() for text in row] for row in got["text"].numpy()]
    assert texts == [[span.text for span in row] for row in spans]
    for name in ("probability", "reading_probability"):
        want = [[getattr(span, name) for span in row] for row in spans]
        np.testing.assert_allclose(got[name], want, atol=1e-5)


def test_span_logits_are_those_of_the_reader(qa, questions):
    """Against the layer, the featurizer and one softmax, in float64."""
    (answer,) = qa.predict(questions[:1])
    scores = qa.search(questions[:1], qa.num_read).scores[0]
    joint = qa.featurizer.joint(
        [answer.question] * 5,
        [block.title for block in answer.blocks],
        [block.text for block in answer.blocks],
    )
    rows = {name: joint[name][None] for name in FEATURES}
    logits = qa.reader(rows, block_mask=joint["block_mask"][None])[0]
    logits = logits.numpy().astype(np.float64) + scores[:, None]
    first, last = span_positions(
        joint["token_ids"].shape[1], qa.reader.max_span_width
    )
    totals = {}
    weights = np.exp(logits - logits.max())
    for z, block in enumerate(answer.blocks):
        text = block.text.encode()
        for i in np.flatnonzero(weights[z]):
            start = int(joint["starts"][z, first[i]])
            end = int(joint["ends"][z, last[i]])
            key = merge_key(text[start:end].decode())
            totals[key] = totals.get(key, 0.0) + weights[z, i]
    best = max(totals, key=totals.get)
    assert merge_key(answer.text) == best
    want = totals[best] / weights.sum()
    np.testing.assert_allclose(answer.probability, want, atol=1e-5)
