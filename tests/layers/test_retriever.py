import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.retriever import Retriever


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(2, 4)).astype("float32")
    blocks = rng.normal(size=(2, 5, 4)).astype("float32")
    return queries, blocks


def test_retriever_keeps_the_layer_contract(embeddings, check_layer):
    queries, blocks = embeddings
    check_layer(
        lambda dtype: Retriever(dtype=dtype),
        {"query_embeddings": queries, "block_embeddings": blocks},
        (2, 5),
    )


def test_logits_are_inner_products(embeddings):
    queries, blocks = embeddings
    expected = [row @ query for query, row in zip(queries, blocks, strict=True)]
    np.testing.assert_allclose(
        Retriever()(queries, blocks), expected, rtol=1e-5
    )


def test_shared_blocks_are_scored_against_every_query(embeddings):
    queries, blocks = embeddings
    np.testing.assert_allclose(
        Retriever()(queries, blocks[0]), queries @ blocks[0].T, rtol=1e-5
    )


def test_masked_candidates_have_no_probability_and_no_gradient(embeddings):
    queries, blocks = embeddings
    mask = np.array([[True, True, False, True, True], [False] * 5])
    blocks = tf.constant(blocks)
    with tf.GradientTape() as tape:
        tape.watch(blocks)
        logits = Retriever()(queries, blocks, candidate_mask=mask)
        probabilities = keras.ops.softmax(logits)
    assert probabilities[0, 2] == 0.0
    # With nothing left, every candidate is as good as the other.
    np.testing.assert_allclose(probabilities[1], np.full(5, 0.2), rtol=1e-6)
    gradient = tape.gradient(probabilities, blocks).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[0, 2].any()


def test_mask_equals_removal(embeddings):
    queries, blocks = embeddings
    mask = np.array([[True, False, True, True, True]] * 2)
    masked = keras.ops.softmax(Retriever()(queries, blocks, mask))
    removed = keras.ops.softmax(
        Retriever()(queries, np.delete(blocks, 1, axis=1))
    )
    np.testing.assert_allclose(np.delete(masked, 1, axis=1), removed, rtol=1e-5)


def test_half_precision_policy_does_not_round_embeddings():
    query, block = np.array([[1.0001]]), np.array([[1.0]])
    logits = Retriever(dtype="mixed_bfloat16")(query, block)
    np.testing.assert_allclose(logits, [[1.0001]], rtol=1e-6)


def test_words_are_added_with_a_weight_that_trains(embeddings, check_layer):
    queries, blocks = embeddings
    bm25 = np.arange(10, dtype="float32").reshape(2, 5)
    inputs = {
        "query_embeddings": queries,
        "block_embeddings": blocks,
        "bm25": bm25,
    }
    check_layer(lambda dtype: Retriever(True, dtype=dtype), inputs, (2, 5))
    layer = Retriever(lexical=True)
    without = Retriever()(queries, blocks)
    np.testing.assert_array_equal(layer(**inputs), without)
    layer.lexical_weight.assign(0.5)
    np.testing.assert_allclose(layer(**inputs), without + bm25 / 2, rtol=1e-6)
    with tf.GradientTape() as tape:
        total = keras.ops.sum(layer(**inputs))
    (gradient,) = tape.gradient(total, layer.trainable_variables)
    assert float(gradient) == bm25.sum()
