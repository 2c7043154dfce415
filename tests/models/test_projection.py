import dataclasses

import keras_hub
import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.models import projection
from realm_tf.models.projection import fit_projection, principal_components


@pytest.fixture
def states():
    """30 unit vectors, wider in some directions than in others."""
    rng = np.random.default_rng(0)
    states = rng.normal(0.5, 1.0, (30, 6)) * [3.0, 0.2, 1.0, 2.0, 0.5, 0.1]
    states /= np.linalg.norm(states, axis=-1, keepdims=True)
    return states.astype(np.float32)


def centred(states):
    return states - states.mean(axis=0)


def test_a_full_projection_keeps_inner_products_20_times(states):
    kernel, bias = principal_components(states, 6)
    assert kernel.dtype == bias.dtype == np.float32
    projected = states @ kernel + bias
    expected = 20.0 * centred(states) @ centred(states).T
    np.testing.assert_allclose(projected @ projected.T, expected, atol=1e-4)


def test_axes_are_orthogonal_and_scaled_by_the_root_of_20(states):
    kernel, _ = principal_components(states, 4)
    assert kernel.shape == (6, 4)
    np.testing.assert_allclose(kernel.T @ kernel, 20.0 * np.eye(4), atol=1e-4)


def test_projected_texts_are_centred(states):
    kernel, bias = principal_components(states, 4)
    np.testing.assert_allclose(
        (states @ kernel + bias).mean(axis=0), np.zeros(4), atol=1e-5
    )


def test_axes_explain_the_most_variance_first(states):
    kernel, bias = principal_components(states, 6)
    variances = (states @ kernel + bias).var(axis=0)
    eigenvalues = np.linalg.eigvalsh(np.cov(states.T, bias=True))[::-1]
    np.testing.assert_allclose(variances, 20.0 * eigenvalues, atol=1e-5)
    narrow, _ = principal_components(states, 2)
    np.testing.assert_array_equal(narrow, kernel[:, :2])


@pytest.mark.parametrize(("num_texts", "dim"), [(1, 2), (3, 5), (5, 6)])
def test_fewer_texts_than_dimensions_are_not_centred(states, num_texts, dim):
    few = states[:num_texts]
    kernel, bias = principal_components(few, dim)
    np.testing.assert_array_equal(bias, np.zeros(dim))
    # Directions that no text has are kept for those that will come.
    np.testing.assert_allclose(kernel.T @ kernel, 20.0 * np.eye(dim), atol=1e-4)
    projected = few @ kernel
    np.testing.assert_allclose(
        projected @ projected.T, 20.0 * few @ few.T, atol=1e-4
    )


def test_dimensions_beyond_those_of_the_trunk_are_zero(states):
    kernel, bias = principal_components(states, 8)
    full_kernel, full_bias = principal_components(states, 6)
    assert kernel.shape == (6, 8)
    np.testing.assert_array_equal(kernel[:, :6], full_kernel)
    np.testing.assert_array_equal(bias[:6], full_bias)
    np.testing.assert_array_equal(kernel[:, 6:], np.zeros((6, 2)))
    np.testing.assert_array_equal(bias[6:], np.zeros(2))


@dataclasses.dataclass
class FakeCorpus:
    num_blocks: int

    def blocks(self, block_ids):
        words = "city house three people from south river king".split()
        return [
            Block(text=" ".join(np.roll(words, i)[: 2 + i % 5]), title=words[0])
            for i in map(int, block_ids)
        ]


@pytest.fixture(scope="module")
def small_featurizer(featurizer):
    return Featurizer(
        featurizer.vocabulary, query_length=8, block_length=16, joint_length=48
    )


@pytest.fixture
def embedder(small_featurizer):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=small_featurizer.vocabulary_size,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=16,
    )
    embedder = Embedder(
        backbone, embedding_dim=2, pooling="mean", layer_norm_epsilon=None
    )
    embedder.build(None)
    return embedder


def test_fit_projection_is_that_of_the_unprojected_embeddings(
    embedder, small_featurizer
):
    corpus = FakeCorpus(12)
    before = embedder.get_weights()
    kernel, bias = fit_projection(embedder, small_featurizer, corpus)
    for weight, same in zip(embedder.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same)

    blocks = corpus.blocks(range(12))
    features = small_featurizer.blocks(
        [block.title for block in blocks], [block.text for block in blocks]
    )
    mask = features["padding_mask"].numpy()[..., None]
    states = embedder.backbone(features)["sequence_output"].numpy()
    means = (states * mask).sum(axis=1) / mask.sum(axis=1)
    units = means / np.linalg.norm(means, axis=-1, keepdims=True)
    embedder.projection.set_weights([kernel, bias])
    expected_kernel, expected_bias = principal_components(units, 2)
    expected = units @ expected_kernel + expected_bias
    embeddings = embedder(features).numpy()
    # The sign of an axis is free.
    np.testing.assert_allclose(
        embeddings @ embeddings.T, expected @ expected.T, atol=1e-3
    )


def test_fit_projection_takes_a_sample_of_a_large_corpus(
    embedder, small_featurizer, monkeypatch
):
    monkeypatch.setattr(projection, "_SAMPLE", 5)
    asked = []

    class Watched(FakeCorpus):
        def blocks(self, block_ids):
            asked.append(list(map(int, block_ids)))
            return super().blocks(block_ids)

    for _ in range(2):
        fit_projection(embedder, small_featurizer, Watched(100))
    first, second = asked
    assert first == second == sorted(set(first))
    assert len(first) == 5
    assert max(first) >= 5
