import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.backbone_layer import tower_features
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.losses.marginal_likelihood import token_log_probs
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.optimizers.bert_adamw import BertAdamW

ROWS, CANDIDATES, TARGETS = 4, 3, 2
WEIGHTS = [[1, 1], [1, 0], [0, 0], [1, 1]]


def make_trunk(dropout=0.0):
    return keras_hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=14,
        dropout=dropout,
    )


def make_model(*, separate=False, rate=0.1, dropout=0.0, **options):
    keras.utils.set_random_seed(1)
    model = RealmPretrainer(
        Embedder(make_trunk(dropout), embedding_dim=3, dropout=dropout),
        KnowledgeAugmentedEncoder(make_trunk(dropout)),
        Embedder(make_trunk(dropout), embedding_dim=3, dropout=dropout)
        if separate
        else None,
        name="pretrainer",
        **options,
    )
    model.build(None)
    rng = np.random.default_rng(2)
    for weight in model.weights:
        if weight.path.endswith(("kernel", "embeddings")):
            weight.assign(rng.normal(0, 0.5, weight.shape))
    model.compile(optimizer=keras.optimizers.SGD(rate))
    return model


@pytest.fixture
def inputs():
    rng = np.random.default_rng(3)
    features = {}
    for prefix, shape in (
        ("query", (ROWS, 5)),
        ("candidate", (ROWS, CANDIDATES, 7)),
        ("joint", (ROWS, CANDIDATES, 12)),
    ):
        features |= {
            f"{prefix}_token_ids": rng.integers(1, 30, shape, "int32"),
            f"{prefix}_segment_ids": np.zeros(shape, "int32"),
            f"{prefix}_padding_mask": np.ones(shape, "int32"),
        }
    # The null block, alone and behind the sentence.
    for name, values in (
        ("candidate_token_ids", [2, 3, 3]),
        ("candidate_segment_ids", [0, 0, 1]),
        ("candidate_padding_mask", [1, 1, 1]),
    ):
        features[name][:, 0] = values + [0] * 4
    for name in ("token_ids", "segment_ids", "padding_mask"):
        features[f"joint_{name}"][:, 0, 6:] = 0
    features["joint_segment_ids"][:, 0, 5] = 1
    mask = np.ones((ROWS, CANDIDATES), "int32")
    mask[0, 2] = 0
    return features | {
        "candidate_mask": mask,
        "mask_positions": rng.integers(1, 4, (ROWS, TARGETS), "int32"),
        "mask_ids": rng.integers(1, 30, (ROWS, TARGETS), "int32"),
        "mask_weights": np.array(WEIGHTS, "float32"),
        "index_age": np.array([3, 3, 5, 5], "float32"),
    }


def fit(model, inputs):
    data = tf.data.Dataset.from_tensors(inputs)
    history = model.fit(data, shuffle=False, verbose=0).history
    weights = [np.array(weight) for weight in model.trainable_weights]
    return {name: v[0] for name, v in history.items()}, weights


def formula(model, inputs, marginalize):
    """Loss and metrics, written as the paper and the code write them."""
    outputs = model(inputs)
    scores = np.array(outputs["retrieval_logits"], np.float64)
    p_block = np.exp(scores - scores.max(-1, keepdims=True))
    p_block /= p_block.sum(-1, keepdims=True)
    p_words = np.exp(np.array(outputs["gold_log_probs"], np.float64))
    weights = np.array(WEIGHTS, bool)
    if marginalize == "token":
        marginal = np.einsum("bc,bct->bt", p_block, p_words)
        loss = -np.log(marginal[weights]).mean()
    else:
        p_all = np.where(weights[:, None], p_words, 1.0).prod(-1)
        marginal_all = (p_block * p_all).sum(-1)
        loss = -np.log(marginal_all[weights.any(-1)]).mean()
    marginal = np.einsum("bc,bct->bt", p_block, p_words)[weights]
    null = p_words[:, 0][weights]
    return {
        "loss": loss,
        "null_mlm_loss": -np.log(null).mean(),
        "retrieval_utility": np.log(marginal / null).mean(),
        "null_probability": p_block[:, 0].mean(),
        "index_age": 4.0,
    }


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_loss_and_metrics_are_the_published_ones(inputs, marginalize, separate):
    model = make_model(separate=separate, marginalize=marginalize)
    expected = formula(model, inputs, marginalize)
    figures, _ = fit(model, inputs)
    assert figures == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_two_replicas_step_like_one(inputs, marginalize, strategy):
    # The first replica has three targets in two examples, the second two in
    # one.
    figures, expected = fit(make_model(marginalize=marginalize), inputs)
    with strategy.scope():
        model = make_model(marginalize=marginalize)
    figures_of_two, weights = fit(model, inputs)
    assert figures_of_two == pytest.approx(figures, rel=1e-5)
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


def test_no_target_means_no_loss_and_no_step(inputs):
    inputs["mask_weights"] = np.zeros((ROWS, TARGETS), "float32")
    model = make_model()
    before = [np.array(weight) for weight in model.trainable_weights]
    figures, after = fit(model, inputs)
    assert figures["loss"] == figures["retrieval_utility"] == 0.0
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_null_block_costs_less_and_gives_the_same(inputs):
    model = make_model(separate=True)
    query, candidates, joint = (
        tower_features(inputs, prefix)
        for prefix in ("query", "candidate", "joint")
    )

    def in_full():
        return {
            "retrieval_logits": model.retriever(
                model.query_embedder(query),
                model.embedder(candidates),
                candidate_mask=inputs["candidate_mask"],
            ),
            "gold_log_probs": token_log_probs(
                model.encoder(joint, inputs["mask_positions"]),
                inputs["mask_ids"],
            ),
        }

    def gradients(compute):
        with tf.GradientTape() as tape:
            outputs = compute()
            loss = model.compute_loss(x=inputs, y_pred=outputs)
        found = tape.gradient(loss, model.trainable_weights)
        return outputs, [np.array(tf.convert_to_tensor(g)) for g in found]

    expected, expected_gradients = gradients(in_full)
    outputs, found = gradients(lambda: model(inputs, training=True))
    for name, value in outputs.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)
    for one, other in zip(found, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def moved(model, inputs):
    """Whether embedder and encoder change in a step that decays weights."""
    layers = (model.embedder, model.encoder)
    before = [layer.get_weights() for layer in layers]
    model.compile(optimizer=BertAdamW(0.1, weight_decay=0.1))
    fit(model, inputs)
    return [
        any(
            (a != b).any()
            for a, b in zip(old, layer.get_weights(), strict=True)
        )
        for old, layer in zip(before, layers, strict=True)
    ]


def test_null_block_alone_is_not_embedded(inputs):
    full = make_model()
    expected = full(inputs)["gold_log_probs"][:, :1]
    alone = {
        name: value[:, :1] if name.startswith(("cand", "joint")) else value
        for name, value in inputs.items()
    }
    model = make_model(train_retriever=False)
    outputs = model(alone)
    assert outputs["retrieval_logits"].numpy().tolist() == [[0.0]] * ROWS
    np.testing.assert_allclose(outputs["gold_log_probs"], expected, atol=1e-5)
    assert moved(model, alone) == [False, True]


def test_frozen_retriever_stays_while_the_encoder_learns(inputs):
    expected, _ = fit(make_model(), inputs)
    model = make_model(train_retriever=False)
    figures, _ = fit(model, inputs)
    assert figures == pytest.approx(expected, rel=1e-5)
    assert not model.embedder.trainable_weights
    assert moved(model, inputs) == [False, True]
    assert moved(make_model(), inputs) == [True, True]


@pytest.mark.parametrize("separate", [False, True])
def test_all_parts_learn(inputs, separate):
    model = make_model(separate=separate)
    before = [np.array(weight) for weight in model.trainable_weights]
    _, after = fit(model, inputs)
    moved = [
        np.abs(new - old).max() > 1e-6
        for old, new in zip(before, after, strict=True)
    ]
    assert len(model.trainable_weights) == (
        len(model.embedder.trainable_weights) * (1 + separate)
        + len(model.encoder.trainable_weights)
    )
    # What softmax and layer norm cancel out may stay.
    assert np.mean(moved) > 0.9
    # Both towers and the encoder: the first trunk's table is its word table.
    tables = [
        moved[i]
        for i, weight in enumerate(model.trainable_weights)
        if weight.path.endswith("token_embedding/embeddings")
    ]
    assert tables == [True] * (2 + separate)


def test_missing_candidates_change_nothing(inputs):
    model = make_model()
    inputs["candidate_mask"][:, 2] = 0
    expected = {n: np.array(v) for n, v in model(inputs).items()}
    inputs["candidate_token_ids"][:, 2] = 7
    outputs = model(inputs)
    np.testing.assert_array_equal(
        outputs["retrieval_logits"], expected["retrieval_logits"]
    )
    assert (expected["retrieval_logits"][:, 2] == -1e9).all()


def test_half_precision_step_is_close(inputs):
    expected, _ = fit(make_model(), inputs)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = make_model()
            figures, weights = fit(model, inputs)
        finally:
            keras.config.set_dtype_policy(before)
        assert figures["loss"] == pytest.approx(expected["loss"], rel=0.03)
        assert all(np.isfinite(weight).all() for weight in weights)
        outputs = model(inputs)
        assert {v.dtype for v in outputs.values()} == {tf.float32}


def compare_checkpointing(inputs, rtol=1e-5, atol=1e-6):
    """A step with dropout, with and without; returns the loss."""
    found = []
    for is_checkpointed in (False, True):
        model = make_model(
            separate=True, dropout=0.3, gradient_checkpointing=is_checkpointed
        )
        figures, weights = fit(model, inputs)
        found.append((figures, [*weights, *map(np.array, model.variables)]))
    (figures, weights), (other_figures, other_weights) = found
    assert other_figures == pytest.approx(figures, rel=rtol)
    for weight, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(other, weight, rtol=rtol, atol=atol)
    return figures["loss"]


def test_checkpointing_changes_no_step(inputs):
    loss = compare_checkpointing(inputs)
    # The dropout that is compared drops something.
    assert loss != pytest.approx(fit(make_model(), inputs)[0]["loss"], rel=0.01)


def test_checkpointing_changes_no_step_of_two_replicas(inputs, strategy):
    with strategy.scope():
        compare_checkpointing(inputs)


def test_checkpointing_changes_no_step_in_half_precision(inputs):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        compare_checkpointing(inputs, rtol=0.02, atol=0.01)
    finally:
        keras.config.set_dtype_policy(before)


def test_checkpointing_is_of_all_parts_and_in_the_config():
    model = make_model(separate=True, gradient_checkpointing=True)
    copy = RealmPretrainer.from_config(model.get_config())
    for one in (model, copy):
        assert one.gradient_checkpointing
        assert one.embedder.gradient_checkpointing
        assert one.query_embedder.gradient_checkpointing
        assert one.encoder.gradient_checkpointing
    assert "gradient_checkpointing" not in model.embedder.get_config()
    again = RealmPretrainer(model.embedder, model.encoder)
    assert not again.embedder.gradient_checkpointing


@pytest.mark.parametrize("separate", [False, True])
def test_save_and_load(inputs, separate, tmp_path):
    model = make_model(
        separate=separate, marginalize="example", train_retriever=False
    )
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.marginalize == "example"
    assert not copy.embedder.trainable_weights
    assert (copy.query_embedder is not copy.embedder) is separate
    expected = model(inputs)
    for name, value in copy(inputs).items():
        np.testing.assert_array_equal(value, expected[name])


def test_unknown_marginalization_is_refused():
    with pytest.raises(ValueError, match="marginalize='block'"):
        make_model(marginalize="block")
