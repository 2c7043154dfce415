import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.backbone_layer import FEATURES, tower_features
from realm_tf.layers.embedder import Embedder
from realm_tf.models.inverse_cloze_pretrainer import (
    InverseClozePretrainer,
)
from realm_tf.optimizers.bert_adamw import BertAdamW

ROWS = 6


def make_embedder(dropout):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=12,
        dropout=dropout,
    )
    return Embedder(backbone, embedding_dim=3, dropout=dropout)


def make_model(*, dropout=0.0, separate=False, rate=0.1, **options):
    keras.utils.set_random_seed(1)
    model = InverseClozePretrainer(
        make_embedder(dropout),
        make_embedder(dropout) if separate else None,
        name="inverse_cloze",
        **options,
    )
    model.build(None)
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        if weight.path.endswith(("kernel", "embeddings")):
            weight.assign(rng.normal(0, 0.5, weight.shape))
    model.compile(optimizer=keras.optimizers.SGD(rate))
    return model


def make_inputs(rows=ROWS):
    rng = np.random.default_rng(3)
    inputs = {}
    for prefix, length in (("query", 5), ("block", 8)):
        shape = (rows, length)
        mask = np.ones(shape, "int32")
        mask[::2, -1] = 0
        inputs |= {
            f"{prefix}_token_ids": rng.integers(1, 30, shape, "int32"),
            f"{prefix}_segment_ids": np.zeros(shape, "int32"),
            f"{prefix}_padding_mask": mask,
        }
    return inputs | {
        "block_keys": np.arange(rows, dtype="int32"),
        "is_removed": np.array([1, 1, 0] * (rows // 3), "int32"),
    }


def fit(model, inputs, epochs=1):
    data = tf.data.Dataset.from_tensors(inputs)
    fitted = model.fit(data, epochs=epochs, shuffle=False, verbose=0)
    weights = [np.array(weight) for weight in model.trainable_weights]
    return {name: v[0] for name, v in fitted.history.items()}, weights


def embeddings(model, inputs):
    queries = model.query_embedder(tower_features(inputs, "query"))
    return queries.numpy(), model.embedder(
        tower_features(inputs, "block")
    ).numpy()


def cross_entropy(logits):
    own = np.diag(logits)
    return np.mean(np.log(np.exp(logits).sum(-1)) - own)


@pytest.mark.parametrize("separate", [False, True])
def test_loss_and_metrics_are_the_published_ones(separate):
    model, inputs = make_model(separate=separate), make_inputs()
    queries, blocks = embeddings(model, inputs)
    logits = queries @ blocks.T
    figures, _ = fit(model, inputs)
    np.testing.assert_allclose(
        figures["loss"], cross_entropy(logits), rtol=1e-5
    )
    right = logits.argmax(-1) == np.arange(ROWS)
    # Rows 0, 1, 3 and 4 had their sentence removed.
    expected = {
        "accuracy": right.mean(),
        "masked_accuracy": right[[0, 1, 3, 4]].mean(),
        "unmasked_accuracy": right[[2, 5]].mean(),
        "actual_mask_ratio": 4 / 6,
        "query_non_padding": 27 / 30,  # three of six rows lack one of five
        "block_non_padding": 45 / 48,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(figures[name], value, rtol=1e-5)


def test_duplicate_blocks_are_no_negatives():
    inputs = make_inputs()
    inputs["block_keys"][4] = inputs["block_keys"][1]
    model = make_model()
    queries, blocks = embeddings(model, inputs)
    logits = queries @ blocks.T
    kept = make_model(mask_duplicates=False)
    np.testing.assert_allclose(
        fit(kept, inputs)[0]["loss"], cross_entropy(logits), rtol=1e-5
    )
    logits[1, 4] = logits[4, 1] = -np.inf
    np.testing.assert_allclose(
        fit(model, inputs)[0]["loss"], cross_entropy(logits), rtol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"chunk_size": 2}])
def test_two_replicas_step_like_one(options, strategy):
    inputs = make_inputs()
    inputs["block_keys"][4] = inputs["block_keys"][1]  # on the other replica
    figures, expected = fit(make_model(), inputs)
    with strategy.scope():
        model = make_model(**options)
    figures_of_two, weights = fit(model, inputs)
    assert figures_of_two.keys() == figures.keys()
    for name, value in figures.items():
        np.testing.assert_allclose(
            figures_of_two[name], value, rtol=1e-5, err_msg=name
        )
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("chunk_size", [4, 100])
def test_chunks_change_nothing(chunk_size, separate):
    inputs = make_inputs()
    before = make_model(separate=separate).get_weights()
    figures, expected = fit(make_model(separate=separate), inputs, 2)
    chunked = make_model(separate=separate, chunk_size=chunk_size)
    figures_of_chunks, weights = fit(chunked, inputs, 2)
    assert figures_of_chunks == pytest.approx(figures, rel=1e-5)
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)
    moved = [np.abs(a - b).max() for a, b in zip(weights, before, strict=False)]
    assert max(moved) > 1e-2


def test_chunks_change_nothing_where_bert_adamw_does_not_clip():
    # Its `official_clipping` counts look-ups, of which chunks give the sums.
    # The epsilon is large, so that the rounding of a zero makes no step.
    weights = []
    for chunk_size in (None, 4):
        model = make_model(chunk_size=chunk_size)
        optimizer = BertAdamW(0.01, epsilon=1e-3, global_clipnorm=100.0)
        model.compile(optimizer=optimizer)
        weights.append(fit(model, make_inputs(), 2)[1])
    for weight, other in zip(*weights, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


def test_chunks_draw_the_same_dropout_twice():
    # One chunk of everything draws what no chunks at all draw, but twice.
    inputs = make_inputs()
    figures, expected = fit(make_model(dropout=0.5), inputs, 2)
    chunked = make_model(dropout=0.5, chunk_size=ROWS)
    figures_of_chunks, weights = fit(chunked, inputs, 2)
    assert figures_of_chunks == pytest.approx(figures, rel=1e-5)
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


def test_both_towers_learn_when_apart():
    model = make_model(separate=True)
    before = [np.array(w) for w in model.query_embedder.weights]
    fit(model, make_inputs())
    after = model.query_embedder.weights
    assert any(
        np.abs(a - b).max() > 1e-3 for a, b in zip(after, before, strict=True)
    )
    assert model.query_embedder is not model.embedder


def test_fit_lowers_the_loss():
    model = make_model(rate=0.3)
    data = tf.data.Dataset.from_tensors(make_inputs())
    history = model.fit(data, epochs=8, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_evaluate_gives_the_loss_without_training():
    model, inputs = make_model(chunk_size=2, dropout=0.5), make_inputs()
    queries, blocks = embeddings(model, inputs)
    figures = model.evaluate(
        tf.data.Dataset.from_tensors(inputs), verbose=0, return_dict=True
    )
    expected = cross_entropy(queries @ blocks.T)
    np.testing.assert_allclose(figures["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("separate", [False, True])
def test_save_and_load(separate, tmp_path):
    inputs = make_inputs()
    model = make_model(separate=separate, chunk_size=3, mask_duplicates=False)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert (copy.chunk_size, copy.mask_duplicates) == (3, False)
    assert (copy.query_embedder is not copy.embedder) is separate
    expected = model(inputs)
    for name, value in copy(inputs).items():
        np.testing.assert_array_equal(value, expected[name])


def test_bad_chunk_size_is_refused():
    with pytest.raises(ValueError, match="chunk_size=0"):
        InverseClozePretrainer(make_embedder(0.0), chunk_size=0)


def test_features_of_a_tower():
    tower = tower_features(make_inputs(), "block")
    assert set(tower) == set(FEATURES)
    assert tower["token_ids"].shape == (ROWS, 8)
