import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.embedder import Embedder
from realm_tf.losses.in_batch_loss import InBatchLoss
from realm_tf.models.dual_encoder import DualEncoder


@pytest.fixture
def make_model():
    def make_embedder(dropout):
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=30,
            num_layers=2,
            num_heads=2,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=12,
            dropout=0.0,
        )
        return Embedder(backbone, embedding_dim=3, dropout=dropout)

    def make(dropout=0.0, separate=False):
        return DualEncoder(
            make_embedder(dropout),
            make_embedder(dropout) if separate else None,
            name="dual_encoder",
        )

    return make


def features(prefix, *shape):
    rng = np.random.default_rng(len(prefix))
    return {
        f"{prefix}token_ids": rng.integers(1, 30, shape, "int32"),
        f"{prefix}segment_ids": rng.integers(0, 2, shape, "int32"),
        f"{prefix}padding_mask": np.ones(shape, "int32"),
    }


@pytest.fixture
def inputs():
    """Three rows of two questions and two blocks, one of the row."""
    return {
        **features("question_", 3, 2, 5),
        **features("block_", 3, 2, 8),
        "block_ids": np.array([[10, 11], [12, 13], [14, -1]], "int32"),
        "answering_ids": np.full((3, 2, 1), -1, "int32"),
    }


def part(inputs, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in inputs.items()
        if name.startswith(prefix) and name != "block_ids"
    }


@pytest.mark.parametrize("separate", [False, True])
def test_every_question_is_scored_against_every_block(
    make_model, inputs, separate
):
    model = make_model(separate=separate)
    assert (model.query_embedder is not model.embedder) is separate
    logits = model(inputs)
    assert logits.shape == (3, 2, 6)
    questions = model.query_embedder(part(inputs, "question_")).numpy()
    blocks = model.embedder(part(inputs, "block_")).numpy()
    for i, j, c in np.ndindex(3, 2, 5):
        expected = questions[i, j] @ blocks[divmod(c, 2)]
        np.testing.assert_allclose(logits[i, j, c], expected, rtol=1e-4)


def test_what_answers_a_question_is_no_negative_of_it(make_model, inputs):
    model = make_model()
    inputs["block_ids"] = np.array([[10, 12], [12, 13], [14, -1]], "int32")
    before = model({**inputs, "answering_ids": np.full((3, 2, 1), -2)}).numpy()
    inputs["answering_ids"] = np.full((3, 2, 3), -1)
    inputs["answering_ids"][1, 0] = [12, 14, -1]
    after = model(inputs).numpy()
    same = np.ones(after.shape, bool)
    same[:, :, 5] = False  # no block
    same[1, 0, [1, 4]] = False  # a copy of its own block, and another answer
    np.testing.assert_array_equal(after[same], before[same])
    np.testing.assert_array_equal(after[~same], np.float32(-1e9))


@pytest.mark.parametrize("separate", [False, True])
def test_config_round_trip(make_model, separate):
    model = make_model(separate=separate)
    config = keras.saving.serialize_keras_object(model)
    assert config["registered_name"] == "realm_tf>DualEncoder"
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, DualEncoder)
    assert copy.get_config() == model.get_config()
    assert copy.embedder.embedding_dim == 3
    assert (copy.query_embedder is not copy.embedder) is separate


@pytest.mark.parametrize("separate", [False, True])
def test_save_and_load(make_model, inputs, tmp_path, separate):
    model = make_model(separate=separate)
    logits = model(inputs)
    model.save(tmp_path / "dual_encoder.keras")
    copy = keras.saving.load_model(tmp_path / "dual_encoder.keras")
    np.testing.assert_array_equal(copy(inputs), logits)


def test_embedders_keep_the_weights_they_come_with(make_model, inputs):
    model = make_model(separate=True)
    for embedder in (model.embedder, model.query_embedder):
        embedder.build(None)
    before = model.get_weights()
    model(inputs)
    assert len(before) == 2 * len(model.embedder.weights)
    for weight, same in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same)


def test_training_uses_dropout(make_model, inputs):
    model = make_model(dropout=0.5)
    plain = model(inputs).numpy()
    np.testing.assert_array_equal(model(inputs), plain)
    assert not np.allclose(model(inputs, training=True), plain)


def test_gradients_reach_the_embedder_from_both_sides(make_model, inputs):
    model = make_model()
    # Words of questions and of blocks apart.
    inputs["question_token_ids"] = inputs["question_token_ids"] % 10 + 1
    inputs["block_token_ids"] = inputs["block_token_ids"] % 10 + 15
    with tf.GradientTape() as tape:
        loss = InBatchLoss()(np.ones((3, 2)), model(inputs, training=True))
    table = model.embedder.backbone.token_embedding.embeddings.value
    kernel = model.embedder.projection.kernel.value
    table, kernel = map(
        tf.convert_to_tensor, tape.gradient(loss, [table, kernel])
    )
    assert np.isfinite(table).all()
    assert np.abs(table[1:11]).max() > 0
    assert np.abs(table[15:25]).max() > 0
    assert np.abs(kernel).max() > 0


def test_fit_lowers_the_loss(make_model, inputs):
    model = make_model()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=InBatchLoss())
    data = tf.data.Dataset.from_tensors((inputs, np.ones((3, 2), "int32")))
    losses = model.fit(data, epochs=12, shuffle=False, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < losses[0]
