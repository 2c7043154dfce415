import keras
import numpy as np
import pytest

from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)


@pytest.fixture
def encoder(make_backbone):
    encoder = KnowledgeAugmentedEncoder(make_backbone())
    encoder.build(None, None)
    rng = np.random.default_rng(0)
    for weight in encoder.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return encoder


def test_knowledge_augmented_encoder_keeps_the_layer_contract(
    check_layer, make_backbone, make_features
):
    check_layer(
        lambda dtype: KnowledgeAugmentedEncoder(make_backbone(dtype)),
        {
            "inputs": make_features(2, 5, 7),
            "mask_positions": np.array([[1, 3], [2, 0]], "int32"),
        },
        (2, 5, 2, 30),
    )


def masked_lm_logits(encoder, state):
    """BERT's head on the state of one position."""
    head = encoder.masked_lm_head
    dense_kernel, dense_bias, gamma, beta, output_bias = (
        next(w.numpy() for w in head.weights if w.path.endswith(path))
        for path in (
            "dense/kernel",
            "dense/bias",
            "norm/gamma",
            "norm/beta",
            "output_bias",
        )
    )
    x = state @ dense_kernel + dense_bias
    cubic = x + 0.044715 * x**3  # The tanh approximation of GELU.
    x = 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * cubic))
    x = gamma * (x - x.mean()) / x.std() + beta
    return x @ encoder.backbone.token_embedding.embeddings.numpy().T + (
        output_bias
    )


def test_logits_are_those_of_bert_at_the_masked_positions(
    encoder, make_features
):
    features = make_features(2, 3, 7)
    logits = encoder(features, np.array([[1, 3], [2, 0]]))
    states = encoder.encode(features, "sequence_output").numpy()
    states = states.reshape(2, 3, 7, 4)
    for example, target, position in ((0, 1, 3), (1, 0, 2)):
        for candidate in range(3):
            expected = masked_lm_logits(
                encoder, states[example, candidate, position]
            )
            np.testing.assert_allclose(
                logits[example, candidate, target],
                expected,
                rtol=1e-3,
                atol=1e-4,
            )


def test_output_embedding_is_the_word_embedding(encoder):
    tables = [w for w in encoder.weights if w.shape == (30, 4)]
    assert len(tables) == 1


def test_output_embedding_is_still_tied_after_a_config_round_trip(encoder):
    copy = KnowledgeAugmentedEncoder.from_config(encoder.get_config())
    copy.build(None, None)
    assert [w.shape for w in copy.weights] == [w.shape for w in encoder.weights]
    assert copy.masked_lm_head.token_embedding is copy.backbone.token_embedding


def test_half_precision_keeps_the_softmax_exact(make_backbone, make_features):
    encoder = KnowledgeAugmentedEncoder(make_backbone("mixed_bfloat16"))
    logits = encoder(make_features(1, 1, 7), np.array([[1]]))
    total = keras.ops.sum(keras.ops.softmax(logits))
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)
