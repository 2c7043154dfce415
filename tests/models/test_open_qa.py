import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.losses.marginal_loss import MarginalLoss
from realm_tf.models.open_qa import READING, RETRIEVAL, OpenQA


def make_trunk():
    return keras_hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=2,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=12,
        dropout=0.0,
    )


@pytest.fixture
def model():
    return OpenQA(
        Embedder(make_trunk(), embedding_dim=3, dropout=0.0),
        SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5),
        name="open_qa",
    )


def features(prefix, *shape):
    rng = np.random.default_rng(len(prefix))
    return {
        f"{prefix}token_ids": rng.integers(1, 30, shape, "int32"),
        f"{prefix}segment_ids": rng.integers(0, 2, shape, "int32"),
        f"{prefix}padding_mask": np.ones(shape, "int32"),
    }


@pytest.fixture
def inputs():
    """Two questions, three blocks scored and two read; one does not exist."""
    rng = np.random.default_rng(0)
    block_mask = np.zeros((2, 2, 8), "int32")
    block_mask[..., 3:7] = 1
    return {
        **features("query_", 2, 6),
        **features("joint_", 2, 2, 8),
        "retrieved_embeddings": rng.normal(size=(2, 3, 3)).astype("float32"),
        "read_embeddings": rng.normal(size=(2, 2, 3)).astype("float32"),
        "block_mask": block_mask,
        "read_mask": np.array([[1, 1], [1, 0]], "int32"),
    }


def part(inputs, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in inputs.items()
        if name.startswith(prefix)
    }


def test_retrieval_logits_are_inner_products(model, inputs):
    outputs = model(inputs)
    questions = model.query_embedder(part(inputs, "query_")).numpy()
    blocks = inputs["retrieved_embeddings"]
    expected = np.einsum("bd,bcd->bc", questions, blocks)
    assert outputs[RETRIEVAL].shape == (2, 3)
    np.testing.assert_allclose(outputs[RETRIEVAL], expected, rtol=1e-5)


def test_reading_is_the_span_logit_plus_the_retrieval_logit(model, inputs):
    outputs = model(inputs)
    questions = model.query_embedder(part(inputs, "query_")).numpy()
    spans = model.reader(
        part(inputs, "joint_"), block_mask=inputs["block_mask"]
    ).numpy()
    assert outputs[READING].shape == (2, 2, 8 + 7)
    for i, j in ((0, 0), (0, 1), (1, 0)):
        logit = questions[i] @ inputs["read_embeddings"][i, j]
        np.testing.assert_allclose(
            outputs[READING][i, j], spans[i, j] + logit, rtol=1e-5
        )


def test_impossible_spans_are_at_minus_1e9_or_below(model, inputs):
    reading = model(inputs)[READING].numpy()
    # Starts 3 to 6 of width one, 3 to 5 of width two.
    possible = np.zeros(15, bool)
    possible[[3, 4, 5, 6, 8 + 3, 8 + 4, 8 + 5]] = True
    for i, j in ((0, 0), (0, 1), (1, 0)):
        np.testing.assert_array_equal(reading[i, j] > -1e8, possible)
    assert (reading[1, 1] <= -0.99e9).all()
    assert np.isfinite(reading).all()


def test_a_block_that_does_not_exist_changes_nothing(model, inputs):
    before = model(inputs)[READING].numpy()
    inputs["read_embeddings"][1, 1] = 5.0
    inputs["joint_token_ids"][1, 1] = 7
    after = model(inputs)[READING].numpy()
    np.testing.assert_allclose(after[before > -1e8], before[before > -1e8])
    assert (after[1, 1] <= -0.99e9).all()


def test_config_round_trip(model):
    config = keras.saving.serialize_keras_object(model)
    assert config["registered_name"] == "realm_tf>OpenQA"
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, OpenQA)
    assert copy.get_config() == model.get_config()
    assert copy.query_embedder.embedding_dim == 3
    assert copy.reader.max_span_width == 2


def test_save_and_load(model, inputs, tmp_path):
    outputs = model(inputs)
    model.save(tmp_path / "open_qa.keras")
    copy = keras.saving.load_model(tmp_path / "open_qa.keras")
    again = copy(inputs)
    for name in (RETRIEVAL, READING):
        np.testing.assert_array_equal(again[name], outputs[name])


def test_parts_keep_the_weights_they_come_with(inputs):
    model = OpenQA(
        Embedder(make_trunk(), embedding_dim=3),
        SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5),
    )
    model.query_embedder.build(None)
    model.reader.build(None, None)
    before = [w.numpy() for w in model.query_embedder.weights]
    before += [w.numpy() for w in model.reader.weights]
    model(inputs)
    after = [*model.query_embedder.weights, *model.reader.weights]
    for weight, same in zip(after, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same)


@pytest.fixture
def labels():
    retrieval = np.array([[0, 1, 0], [1, 0, -1]], "int32")
    reading = np.zeros((2, 2, 15), "int32")
    reading[0, 1, 4] = reading[1, 0, 12] = 1
    return {RETRIEVAL: retrieval, READING: reading}


@pytest.mark.parametrize("output", [RETRIEVAL, READING])
def test_gradients_of_both_losses_reach_the_query_embedder(
    model, inputs, labels, output
):
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=True)
        loss = MarginalLoss()(labels[output], outputs[output])
    weights = [
        model.query_embedder.projection.kernel,
        model.query_embedder.backbone.pooled_dense.kernel,
        model.query_embedder.backbone.token_embedding.embeddings,
        model.reader.score_dense.kernel,
    ]
    *query, reader = tape.gradient(loss, [w.value for w in weights])
    for gradient in map(tf.convert_to_tensor, query):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0
    assert (reader is not None) is (output == READING)


def test_fit_lowers_both_losses(model, inputs, labels):
    losses = {RETRIEVAL: MarginalLoss(), READING: MarginalLoss()}
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=losses)
    data = tf.data.Dataset.from_tensors((inputs, labels))
    history = model.fit(data, epochs=12, shuffle=False, verbose=0).history
    for name in ("retrieval_loss", "reading_loss"):
        assert history[name][-1] < history[name][0]


def test_training_uses_dropout(inputs):
    model = OpenQA(
        Embedder(make_trunk(), embedding_dim=3, dropout=0.5),
        SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5),
    )
    plain = model(inputs)[RETRIEVAL].numpy()
    np.testing.assert_array_equal(model(inputs)[RETRIEVAL], plain)
    trained = model(inputs, training=True)[RETRIEVAL].numpy()
    assert not np.allclose(trained, plain)


def test_words_raise_both_logits(inputs):
    model = OpenQA(
        Embedder(make_trunk(), embedding_dim=3, dropout=0.0),
        SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5),
        lexical=True,
    )
    inputs["retrieved_bm25"] = np.array([[3, 0, 1], [0, 2, 0]], "float32")
    inputs["read_bm25"] = np.array([[3, 0], [2, 0]], "float32")
    before = model(inputs)
    model.retriever.lexical_weight.assign(0.5)
    after = model(inputs)
    np.testing.assert_allclose(
        after[RETRIEVAL] - before[RETRIEVAL],
        inputs["retrieved_bm25"] / 2,
        atol=1e-5,
    )
    added = after[READING][:, 0] - before[READING][:, 0]
    np.testing.assert_allclose(added[:, 3], [1.5, 1.0], atol=1e-5)
    copy = OpenQA.from_config(model.get_config())
    assert copy.retriever.lexical
