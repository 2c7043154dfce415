import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.layers.span_reader import SpanReader
from realm_tf.layers.spans import span_positions


@pytest.fixture
def reader(make_backbone):
    reader = SpanReader(make_backbone(), max_span_width=3, span_hidden_dim=6)
    reader.build(None, None)
    rng = np.random.default_rng(0)
    for weight in reader.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return reader


@pytest.fixture
def block_mask():
    mask = np.zeros((2, 5, 7), "int32")
    mask[..., 3:6] = 1
    return mask


def test_span_reader_keeps_the_layer_contract(
    check_layer, make_backbone, make_features, block_mask
):
    check_layer(
        lambda dtype: SpanReader(
            make_backbone(dtype), max_span_width=3, span_hidden_dim=6
        ),
        {"inputs": make_features(2, 5, 7), "block_mask": block_mask},
        (2, 5, 7 + 6 + 5),
    )


def span_logit(reader, start_state, end_state):
    """The equation of the class docstring, for one span."""
    kernel, bias = reader.start_end_dense.get_weights()
    start_half = (start_state @ kernel + bias)[:6]
    end_half = (end_state @ kernel + bias)[6:]
    hidden = np.maximum(start_half + end_half, 0.0)
    gamma, beta = reader.span_layer_norm.get_weights()
    normalized = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-3)
    kernel, bias = reader.score_dense.get_weights()
    return ((gamma * normalized + beta) @ kernel + bias).item()


def test_span_logits_equal_the_equation_span_by_span(
    reader, make_features, block_mask
):
    features = make_features(2, 5, 7)
    logits = reader(features, np.ones_like(block_mask))
    states = reader.encode(features, "sequence_output").numpy()
    spans = zip(*span_positions(7, 3), strict=True)
    expected = [
        span_logit(reader, states[8, start], states[8, end])
        for start, end in spans
    ]
    np.testing.assert_allclose(logits[1, 3], expected, rtol=1e-4, atol=1e-5)


def test_spans_outside_of_the_block_have_no_probability(
    reader, make_features, block_mask
):
    logits = reader(make_features(2, 5, 7), block_mask)
    starts, ends = span_positions(7, 3)
    outside = (starts < 3) | (ends > 5)
    probabilities = keras.ops.softmax(logits).numpy()
    assert (probabilities[..., outside] == 0).all()
    assert (probabilities[..., ~outside] > 0).all()


def test_max_span_width_beyond_the_length_adds_no_spans(
    make_backbone, make_features
):
    reader = SpanReader(make_backbone(), max_span_width=10, span_hidden_dim=6)
    features = make_features(1, 1, 4)
    logits = reader(features, np.ones((1, 1, 4)))
    assert tuple(logits.shape) == (1, 1, 4 + 3 + 2 + 1)


def test_one_reader_takes_any_length_and_any_number_of_blocks(
    reader, make_features
):
    for num_candidates, joint_length in ((1, 7), (5, 12)):
        features = make_features(2, num_candidates, joint_length)
        block_mask = np.ones((2, num_candidates, joint_length))
        num_spans = 3 * joint_length - 3
        assert tuple(reader(features, block_mask).shape) == (
            2,
            num_candidates,
            num_spans,
        )


def test_padding_to_a_longer_bucket_keeps_the_logits(
    reader, make_features, block_mask
):
    features = make_features(2, 5, 7)
    logits = reader(features, block_mask).numpy()
    pad = [(0, 0), (0, 0), (0, 5)]
    padded = {name: np.pad(value, pad) for name, value in features.items()}
    padded_logits = reader(padded, np.pad(block_mask, pad)).numpy()
    np.testing.assert_allclose(
        padded_logits[padded_logits > -1e8], logits[logits > -1e8], rtol=1e-4
    )


def test_layer_norm_epsilon_changes_the_logits(reader, make_features):
    features, block_mask = make_features(1, 1, 7), np.ones((1, 1, 7))
    other = SpanReader(
        reader.backbone,
        max_span_width=3,
        span_hidden_dim=6,
        layer_norm_epsilon=1.0,
    )
    other.build(None, None)
    other.set_weights(reader.get_weights())
    difference = reader(features, block_mask) - other(features, block_mask)
    assert np.abs(difference).max() > 1e-2


def test_traced_reader_takes_a_length_unknown_to_the_trace(
    reader, make_features, block_mask
):
    unknown = tf.TensorSpec((2, 5, None), tf.int32)
    features = make_features(2, 5, 7)
    traced = tf.function(reader).get_concrete_function(
        dict.fromkeys(features, unknown), unknown
    )
    arguments = keras.tree.map_structure(tf.constant, features)
    np.testing.assert_allclose(
        traced(arguments, tf.constant(block_mask)),
        reader(features, block_mask),
        rtol=1e-4,
    )
