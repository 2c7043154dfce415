import dataclasses

import keras
import keras_hub
import numpy as np
import pytest

from realm_tf.checkpoints import presets
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine import text_embedder as embedding
from realm_tf.engine.text_embedder import (
    BATCH_SIZE,
    TextEmbedder,
    embedder_fingerprint,
    reader_fingerprint,
    trim,
    trim_joint,
)
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader


def make_featurizer(vocabulary, **options):
    lengths = {"query_length": 12, "block_length": 40, "joint_length": 64}
    return Featurizer(vocabulary, **{**lengths, **options})


@pytest.fixture(scope="module")
def small_featurizer(featurizer):
    return make_featurizer(featurizer.vocabulary)


@pytest.fixture(scope="module")
def make_embedder(featurizer):
    def make(trunk_dropout=0.0, dtype="float32", num_heads=2, **options):
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=featurizer.vocabulary_size,
            num_layers=1,
            num_heads=num_heads,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=40,
            dropout=trunk_dropout,
            dtype=dtype,
        )
        embedder = Embedder(backbone, **{"embedding_dim": 3, **options})
        embedder.build(None)
        rng = np.random.default_rng(0)
        for weight in embedder.weights:
            if len(weight.shape) > 1:  # larger than they start, to tell texts
                weight.assign(rng.normal(0, 0.5, weight.shape))
        return embedder

    return make


@pytest.fixture(scope="module", params=["cls", "mean"])
def text_embedder(request, make_embedder, small_featurizer):
    epsilon = None if request.param == "mean" else 1e-12
    embedder = make_embedder(pooling=request.param, layer_norm_epsilon=epsilon)
    return TextEmbedder(embedder, small_featurizer)


def test_e3_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="=jax. Unset KERAS_BACKEND"):
        TextEmbedder(None, None)


def make_texts(count):
    """Lengths in no order, from one word to more than fits."""
    words = "the city was founded when three people built this house".split()
    rng = np.random.default_rng(1)
    return [
        " ".join(rng.choice(words, rng.integers(1, 50))) for _ in range(count)
    ]


def make_blocks(count):
    return [
        Block(text=text, title=f"title {i}" if i % 3 else "", block_id=i)
        for i, text in enumerate(make_texts(count))
    ]


@dataclasses.dataclass
class FakeCorpus:
    num_blocks: int

    def blocks(self, block_ids):
        blocks = make_blocks(self.num_blocks)
        return [blocks[i] for i in block_ids]


def test_embeddings_of_questions_are_the_same_alone_and_together(text_embedder):
    texts = make_texts(BATCH_SIZE + 7)
    together = text_embedder.questions(texts)
    assert together.dtype == np.float32
    assert together.shape == (BATCH_SIZE + 7, 3)
    alone = text_embedder.questions_one_by_one(texts)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert alone.std(axis=0).max() > 1e-3  # texts do differ


def test_questions_one_by_one_are_the_same_to_the_last_bit(text_embedder):
    texts = make_texts(9)
    together = text_embedder.questions_one_by_one(texts)
    for i, text in enumerate(texts):
        alone = text_embedder.questions_one_by_one([text])
        np.testing.assert_array_equal(alone, together[i : i + 1])


def test_embeddings_of_blocks_are_the_same_alone_and_together(text_embedder):
    blocks = make_blocks(BATCH_SIZE + 7)
    together = text_embedder.blocks(blocks)
    alone = [text_embedder.blocks([block])[0] for block in blocks]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_embeddings_are_those_of_the_embedder(text_embedder):
    blocks = make_blocks(5)
    features = text_embedder.featurizer.blocks(
        [block.title for block in blocks], [block.text for block in blocks]
    )
    expected = text_embedder.embedder(features)
    np.testing.assert_allclose(
        text_embedder.blocks(blocks), expected, atol=1e-5
    )


def test_embeddings_are_in_the_order_of_the_texts(text_embedder):
    blocks = make_blocks(BATCH_SIZE + 7)
    embeddings = text_embedder.blocks(blocks)
    backwards = text_embedder.blocks(blocks[::-1])
    np.testing.assert_allclose(backwards[::-1], embeddings, atol=1e-5)


def test_no_text_has_no_embedding(text_embedder):
    assert text_embedder.questions([]).shape == (0, 3)
    assert text_embedder.blocks([]).shape == (0, 3)


def test_embeddings_have_no_dropout(make_embedder, small_featurizer):
    embedder = make_embedder(trunk_dropout=0.5, dropout=0.5)
    text_embedder = TextEmbedder(embedder, small_featurizer)
    texts = make_texts(3)
    np.testing.assert_array_equal(
        text_embedder.questions(texts), text_embedder.questions(texts)
    )


def test_embeddings_follow_the_weights(make_embedder, small_featurizer):
    embedder = make_embedder()
    text_embedder = TextEmbedder(embedder, small_featurizer)
    before = text_embedder.questions(["the city"])
    embedder.layer_norm.beta.assign_add([1.0, 2.0, 3.0])
    after = text_embedder.questions(["the city"])
    np.testing.assert_allclose(after - before, [[1.0, 2.0, 3.0]], atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4, 10, 11])
def test_a_corpus_is_embedded_in_chunks_in_order(
    text_embedder, monkeypatch, chunk
):
    monkeypatch.setattr(embedding, "_CHUNK", chunk)
    chunks = list(text_embedder.corpus(FakeCorpus(10)))
    sizes = {1: [1] * 10, 4: [4, 4, 2], 10: [10], 11: [10]}[chunk]
    assert [len(rows) for rows in chunks] == sizes
    np.testing.assert_allclose(
        np.concatenate(chunks),
        text_embedder.blocks(make_blocks(10)),
        atol=1e-5,
    )


def test_a_corpus_is_streamed(text_embedder, monkeypatch):
    monkeypatch.setattr(embedding, "_CHUNK", 2)
    asked = []

    class Watched(FakeCorpus):
        def blocks(self, block_ids):
            asked.append(list(block_ids))
            return super().blocks(block_ids)

    chunks = text_embedder.corpus(Watched(5))
    assert asked == []
    next(chunks)
    assert asked == [[0, 1]]
    assert len(list(chunks)) == 2
    assert asked == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("used", "bucket", "length"),
    [
        (0, 16, 16),  # never empty
        (1, 16, 16),
        (16, 16, 16),
        (17, 16, 32),
        (33, 16, 40),  # not longer than it was
        (40, 16, 40),
        (5, 4, 8),
        (5, 1, 5),
    ],
)
def test_trim_keeps_a_multiple_of_the_bucket(used, bucket, length):
    mask = np.zeros((2, 3, 40), np.int32)
    mask[1, 0, :used] = 1
    mask[0, 2, : used // 2] = 1
    ids = np.arange(240, dtype=np.int32).reshape(2, 3, 40)
    features = {"joint_token_ids": ids, "joint_padding_mask": mask}
    trimmed = trim(features, bucket)
    assert set(trimmed) == set(features)
    for name, value in features.items():
        np.testing.assert_array_equal(trimmed[name], value[..., :length])


@pytest.mark.parametrize(
    ("used", "max_span_width", "length"),
    [(5, 10, 32), (33, 10, 64), (65, 10, 80), (5, 40, 40), (41, 40, 80)],
)
def test_trim_joint_leaves_room_for_the_widest_span(
    used, max_span_width, length
):
    mask = np.zeros((1, 2, 80), np.int32)
    mask[0, 1, :used] = 1
    features = {"token_ids": 3 * mask, "padding_mask": mask}
    trimmed = trim_joint(features, max_span_width)
    for name, value in features.items():
        np.testing.assert_array_equal(trimmed[name], value[..., :length])


def fingerprint_of(make_embedder, featurizer, **options):
    return embedder_fingerprint(make_embedder(**options), featurizer)


def test_fingerprint_is_that_of_an_equal_embedder(
    make_embedder, small_featurizer
):
    embedder = make_embedder()
    fingerprint = embedder_fingerprint(embedder, small_featurizer)
    assert len(fingerprint) == 64
    copy = presets.copy_layer(embedder)
    assert embedder_fingerprint(copy, small_featurizer) == fingerprint


def test_fingerprint_changes_with_any_weight(make_embedder, small_featurizer):
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
    make_embedder, small_featurizer, options
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
    make_embedder, small_featurizer, options
):
    embedder = make_embedder()
    other = make_featurizer(small_featurizer.vocabulary, **options)
    assert embedder_fingerprint(embedder, other) != (
        embedder_fingerprint(embedder, small_featurizer)
    )


def test_fingerprint_changes_with_the_vocabulary(
    make_embedder, small_featurizer
):
    words = list(small_featurizer.vocabulary)
    words[-2:] = words[:-3:-1]
    embedder = make_embedder()
    assert embedder_fingerprint(embedder, make_featurizer(words)) != (
        embedder_fingerprint(embedder, small_featurizer)
    )


@pytest.mark.parametrize("options", [{"query_length": 9}, {"joint_length": 50}])
def test_fingerprint_is_that_of_blocks_only(
    make_embedder, small_featurizer, options
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
    make_embedder, small_featurizer, options
):
    plain = fingerprint_of(make_embedder, small_featurizer, dropout=0.0)
    other = fingerprint_of(make_embedder, small_featurizer, **options)
    assert other == plain


def test_fingerprint_does_not_change_with_calls(
    make_embedder, small_featurizer
):
    embedder = make_embedder(trunk_dropout=0.3, dropout=0.3)
    before = embedder_fingerprint(embedder, small_featurizer)
    embedder(small_featurizer.questions(["who?"]), training=True)
    assert embedder_fingerprint(embedder, small_featurizer) == before


def test_reader_fingerprint_is_that_of_weights_and_featurizer(
    make_embedder, small_featurizer, featurizer
):
    reader = SpanReader(make_embedder().backbone, span_hidden_dim=8)
    presets.build(reader)
    first = reader_fingerprint(reader, small_featurizer)
    assert reader_fingerprint(reader, small_featurizer) == first
    longer = make_featurizer(featurizer.vocabulary, joint_length=65)
    assert reader_fingerprint(reader, longer) != first
    bias = reader.score_dense.bias
    bias.assign_add(np.ones(bias.shape))
    assert reader_fingerprint(reader, small_featurizer) != first
