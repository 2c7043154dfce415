import numpy as np
import tensorflow as tf

from realm_tf.engine.embedding_module import EmbeddingModule


def make(qa, featurize=None, **options):
    return EmbeddingModule(
        qa.query_embedder,
        featurize or qa.featurizer.questions,
        ("question",),
        fingerprint="abc",
        **options,
    )


def test_signatures_have_the_documented_names_and_shapes(qa):
    module = make(qa, qa.featurizer.cut_questions)
    signatures = module.signatures
    assert set(signatures) == {"serving_default", "embed"}
    for function in signatures.values():
        assert [spec.shape.as_list() for spec in function.inputs[:1]] == [
            [None]
        ]
    plain = signatures["serving_default"].structured_outputs
    assert {n: s.shape.as_list() for n, s in plain.items()} == {
        "embedding": [None, 4]
    }
    more = signatures["embed"].structured_outputs
    assert {n: s.dtype for n, s in more.items()} == {
        "embedding": tf.float32,
        "fingerprint": tf.string,
        "truncated": tf.bool,
    }
    assert "truncated" not in make(qa).signatures["embed"].structured_outputs


def test_compiled_embeddings_are_the_same_but_for_rounding(qa, questions):
    texts = tf.constant(questions)
    compiled, plain = make(qa, jit_compile=True), make(qa)
    features = qa.featurizer.questions(questions)
    want = qa.query_embedder(features)
    for module in (compiled, plain):
        embedded = module.embed(texts)["embedding"]
        np.testing.assert_allclose(embedded, want, atol=1e-5)


def test_no_questions_have_no_embeddings(qa):
    embedded = make(qa).embed(tf.zeros([0], tf.string))["embedding"]
    assert embedded.shape == (0, 4)
