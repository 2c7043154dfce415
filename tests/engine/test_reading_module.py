import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.engine import reading_module
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.serving.backends.backend import MISSING_SCORE


def make(qa, num_answers=3, **options):
    return ReadingModule(
        qa.reader,
        qa.featurizer,
        num_answers=num_answers,
        fingerprint="abc",
        **options,
    )


def read(module, answer, scores):
    return module.read(
        tf.constant(answer.question),
        tf.constant([block.title for block in answer.blocks]),
        tf.constant([block.text for block in answer.blocks]),
        tf.constant(scores),
    )


def test_signature_has_the_documented_names_and_shapes(qa):
    (serve,) = make(qa).signatures.values()
    names = ["question", "block_titles", "block_texts", "retrieval_scores"]
    specs, _ = serve.structured_input_signature
    assert [spec.name for spec in specs] == names
    outputs = serve.structured_outputs
    assert outputs.pop("fingerprint").shape.as_list() == [None]
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


def test_padding_changes_no_answer(qa, questions):
    (answer,) = qa.predict(questions[:1], num_read=2, num_retrieved=2)
    scores = qa.search(questions[:1], 2).scores[0].tolist()
    module = make(qa)
    blocks = (*answer.blocks, Block("Padding 1888."))
    padded = dataclasses.replace(answer, blocks=blocks)
    want = read(module, answer, scores)
    got = read(module, padded, [*scores, MISSING_SCORE])
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("at_once", [2, 32])
def test_answers_do_not_depend_on_how_they_are_computed(
    qa, questions, monkeypatch, at_once, jit_compile
):
    monkeypatch.setattr(reading_module, "_BLOCKS_READ", at_once)
    (answer,) = qa.predict(questions[:1], num_alternatives=2)
    scores = qa.search(questions[:1], qa.num_read).scores[0]
    got = read(make(qa, jit_compile=jit_compile), answer, scores)
    spans = [answer, *answer.alternatives]
    assert [t.decode() for t in got["text"].numpy()] == [s.text for s in spans]
    for name in ("probability", "reading_probability"):
        want = [getattr(span, name) for span in spans]
        np.testing.assert_allclose(got[name], want, atol=1e-5)
