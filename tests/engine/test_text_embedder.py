import dataclasses

import keras
import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.engine import text_embedder as embedding
from realm_tf.engine.text_embedder import TextEmbedder


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
    texts = make_texts(20)
    together = text_embedder.questions(texts)
    assert together.dtype == np.float32
    assert together.shape == (20, 3)
    alone = np.concatenate([text_embedder.questions([t]) for t in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert alone.std(axis=0).max() > 1e-3  # texts do differ


def test_embeddings_of_blocks_are_the_same_alone_and_together(text_embedder):
    blocks = make_blocks(20)
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
    blocks = make_blocks(20)
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


def test_half_precision_follows_the_weights(make_embedder, small_featurizer):
    embedder = make_embedder(dtype="mixed_bfloat16")
    text_embedder = TextEmbedder(embedder, small_featurizer)
    before = text_embedder.questions(["the city"])
    other = make_embedder(dtype="mixed_bfloat16")
    rng = np.random.default_rng(2)
    for weight in other.weights:
        if weight.path.endswith("feedforward_output_dense/kernel"):
            weight.assign(rng.normal(0, 1, weight.shape))
    embedder.set_weights(other.get_weights())
    after = text_embedder.questions(["the city"])
    assert abs(after - before).max() > 1e-2
    want = TextEmbedder(other, small_featurizer).questions(["the city"])
    np.testing.assert_array_equal(after, want)
