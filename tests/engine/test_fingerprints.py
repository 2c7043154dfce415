import numpy as np
import pytest

from realm_tf.checkpoints import presets
from realm_tf.engine.fingerprints import (
    embedder_fingerprint,
    reader_fingerprint,
)
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.span_reader import SpanReader


def fingerprint_of(make_embedder, featurizer, **options):
    return embedder_fingerprint(make_embedder(**options), featurizer)


def test_fingerprint_is_that_of_an_equal_embedder(
    make_embedder, small_featurizer, make_featurizer
):
    embedder = make_embedder()
    fingerprint = embedder_fingerprint(embedder, small_featurizer)
    assert len(fingerprint) == 64
    copy = presets.copy_layer(embedder)
    assert embedder_fingerprint(copy, small_featurizer) == fingerprint


def test_fingerprint_changes_with_any_weight(
    make_embedder, small_featurizer, make_featurizer
):
    embedder = make_embedder()
    seen = {embedder_fingerprint(embedder, small_featurizer)}
    for weight in embedder.weights:
        value = weight.numpy()
        value.flat[-1] = np.nextafter(value.flat[-1], np.float32(9))
        weight.assign(value)
        seen.add(embedder_fingerprint(embedder, small_featurizer))
    assert len(seen) == 1 + len(embedder.weights)


@pytest.mark.parametrize(
    "options",
    [{"pooling": "mean"}, {"layer_norm_epsilon": 1e-3}, {"num_heads": 4}],
)
def test_fingerprint_changes_with_the_embedder(
    make_embedder, small_featurizer, options, make_featurizer
):
    plain = make_embedder()
    other = make_embedder(**options)
    for weight, same in zip(other.weights, plain.weights, strict=True):
        weight.assign(np.reshape(same, weight.shape))
    assert embedder_fingerprint(other, small_featurizer) != (
        embedder_fingerprint(plain, small_featurizer)
    )


@pytest.mark.parametrize(
    "options", [{"block_length": 39}, {"lowercase": False}]
)
def test_fingerprint_changes_with_the_featurizer(
    make_embedder, small_featurizer, options, make_featurizer
):
    embedder = make_embedder()
    other = make_featurizer(small_featurizer.vocabulary, **options)
    assert embedder_fingerprint(embedder, other) != (
        embedder_fingerprint(embedder, small_featurizer)
    )


def test_fingerprint_changes_with_the_vocabulary(
    make_embedder, small_featurizer, make_featurizer
):
    words = list(small_featurizer.vocabulary)
    words[-2:] = words[:-3:-1]
    embedder = make_embedder()
    assert embedder_fingerprint(embedder, make_featurizer(words)) != (
        embedder_fingerprint(embedder, small_featurizer)
    )


@pytest.mark.parametrize("options", [{"query_length": 9}, {"joint_length": 50}])
def test_fingerprint_is_that_of_blocks_only(
    make_embedder, small_featurizer, options, make_featurizer
):
    embedder = make_embedder()
    other = make_featurizer(small_featurizer.vocabulary, **options)
    assert embedder_fingerprint(embedder, other) == (
        embedder_fingerprint(embedder, small_featurizer)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.0},
        {"dropout": 0.2},
        {"trunk_dropout": 0.3},
        {"dtype": "mixed_bfloat16"},
    ],
)
def test_fingerprint_does_not_change_with_dropout_or_dtype(
    make_embedder, small_featurizer, options, make_featurizer
):
    plain = fingerprint_of(make_embedder, small_featurizer, dropout=0.0)
    other = fingerprint_of(make_embedder, small_featurizer, **options)
    assert other == plain


def test_fingerprint_does_not_change_with_calls(
    make_embedder, small_featurizer, make_featurizer
):
    embedder = make_embedder(trunk_dropout=0.3, dropout=0.3)
    before = embedder_fingerprint(embedder, small_featurizer)
    embedder(small_featurizer.questions(["who?"]), training=True)
    assert embedder_fingerprint(embedder, small_featurizer) == before


def test_reader_fingerprint_is_that_of_weights_and_featurizer(
    make_embedder, small_featurizer, featurizer, make_featurizer
):
    reader = SpanReader(make_embedder().backbone, span_hidden_dim=8)
    presets.build(reader)
    first = reader_fingerprint(reader, small_featurizer)
    assert reader_fingerprint(reader, small_featurizer) == first
    assert reader_fingerprint(reader, small_featurizer, Calibration()) == first
    warmer = Calibration(temperature=2.0)
    assert reader_fingerprint(reader, small_featurizer, warmer) != first
    longer = make_featurizer(featurizer.vocabulary, joint_length=65)
    assert reader_fingerprint(reader, longer) != first
    bias = reader.score_dense.bias
    bias.assign_add(np.ones(bias.shape))
    assert reader_fingerprint(reader, small_featurizer) != first
