import keras
import numpy as np
import pytest

from realm_tf.layers.embedder import Embedder


@pytest.mark.parametrize("pooling", ["cls", "mean", "first"])
def test_embedder_keeps_the_layer_contract(
    pooling, check_layer, make_backbone, make_features
):
    check_layer(
        lambda dtype: Embedder(
            make_backbone(dtype), embedding_dim=3, pooling=pooling
        ),
        {"inputs": make_features(2, 5, 7)},
        (2, 5, 3),
    )


def test_cls_embedding_is_the_layer_norm_of_the_projected_pooler(
    make_backbone, make_features
):
    embedder = Embedder(make_backbone(), embedding_dim=3)
    features = make_features(2, 7)
    embeddings = embedder(features)

    pooled = embedder.backbone(features)["pooled_output"].numpy()
    kernel, bias = embedder.projection.get_weights()
    x = pooled @ kernel + bias
    expected = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4)


def test_mean_embedding_projects_the_normalised_mean_of_real_wordpieces(
    make_backbone, make_features
):
    embedder = Embedder(
        make_backbone(),
        embedding_dim=3,
        pooling="mean",
        layer_norm_epsilon=None,
    )
    features = make_features(2, 7)
    embeddings = embedder(features)

    states = embedder.backbone(features)["sequence_output"].numpy()
    mean = states[:, :5].mean(axis=1)  # The last two are padding.
    unit = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    kernel, bias = embedder.projection.get_weights()
    np.testing.assert_allclose(embeddings, unit @ kernel + bias, rtol=1e-4)


def test_mean_embedding_of_padding_alone_is_finite(
    make_backbone, make_features
):
    embedder = Embedder(make_backbone(), embedding_dim=3, pooling="mean")
    features = make_features(1, 7)
    features["padding_mask"] = np.zeros_like(features["padding_mask"])
    assert np.isfinite(embedder(features)).all()


@pytest.mark.parametrize("pooling", ["cls", "mean", "first"])
def test_candidates_are_embedded_as_if_one_by_one(
    pooling, make_backbone, make_features
):
    embedder = Embedder(make_backbone(), embedding_dim=3, pooling=pooling)
    features = make_features(2, 5, 7)
    one = {name: value[1, 3:4] for name, value in features.items()}
    np.testing.assert_allclose(
        embedder(features)[1, 3:4], embedder(one), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("pooling", ["cls", "mean", "first"])
def test_padding_changes_nothing(pooling, make_backbone, make_features):
    embedder = Embedder(make_backbone(), embedding_dim=3, pooling=pooling)
    features = make_features(2, 7)
    cut = {name: value[:, :-2] for name, value in features.items()}
    np.testing.assert_allclose(
        embedder(features), embedder(cut), rtol=1e-4, atol=1e-6
    )


def test_dropout_acts_on_the_embedding_in_training_only(
    make_backbone, make_features
):
    embedder = Embedder(make_backbone(), embedding_dim=50, dropout=0.5)
    features = make_features(4, 7)
    dropped = np.mean(np.equal(embedder(features, training=True), 0.0))
    assert 0.3 < dropped < 0.7
    assert np.all(np.not_equal(embedder(features), 0.0))


def test_layer_norm_epsilon_changes_the_embedding(make_backbone, make_features):
    backbone, features = make_backbone(), make_features(2, 7)
    embeddings = []
    for epsilon in (1e-12, 1e-3):
        keras.utils.set_random_seed(0)
        embedder = Embedder(
            backbone, embedding_dim=3, layer_norm_epsilon=epsilon
        )
        embeddings.append(embedder(features).numpy())
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-2


def test_dtype_follows_the_backbone_unless_given(make_backbone):
    backbone = make_backbone("mixed_bfloat16")
    assert Embedder(backbone).dtype_policy.name == "mixed_bfloat16"
    assert Embedder(backbone, dtype="float32").dtype_policy.name == "float32"


def test_unknown_pooling_is_refused(make_backbone):
    with pytest.raises(ValueError, match="`pooling` must be one of.*'max'"):
        Embedder(make_backbone(), pooling="max")


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_an_activation_is_that_of_the_projection(
    activation, make_backbone, make_features
):
    features = make_features(2, 7)
    settings = {
        "embedding_dim": 3,
        "pooling": "mean",
        "layer_norm_epsilon": None,
    }
    plain = Embedder(make_backbone(), **settings)
    curved = Embedder(plain.backbone, activation=activation, **settings)
    curved.build(None)
    plain.build(None)
    curved.projection.set_weights(plain.projection.get_weights())
    expected = keras.activations.get(activation)(plain(features))
    np.testing.assert_allclose(curved(features), expected, rtol=1e-5)
    assert not np.allclose(curved(features), plain(features))


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_states_and_embeddings_are_normalised_when_asked(
    pooling, make_backbone, make_features
):
    features = make_features(2, 7)
    embedder = Embedder(
        make_backbone(),
        embedding_dim=3,
        pooling=pooling,
        layer_norm_epsilon=None,
        normalize_states=False,
        embedding_norm=2.0,
    )
    embedder.build(None)
    states = embedder.backbone(features)["sequence_output"].numpy()
    pooled = states[:, :5].mean(1) if pooling == "mean" else states[:, 0]
    kernel, bias = embedder.projection.get_weights()
    expected = pooled @ kernel + bias
    expected *= 2 / np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(embedder(features), expected, rtol=1e-4)


def test_an_unknown_activation_is_refused(make_backbone):
    with pytest.raises(ValueError, match="`activation` must be one of"):
        Embedder(make_backbone(), activation="mish")
