"""Layers and losses use `keras.ops` only, so JAX gives TensorFlow's numbers.

Keras chooses its backend once per process: this file also is the script that
the other process runs.
"""

import os
import pathlib
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.retriever import Retriever
from realm_tf.layers.span_reader import SpanReader
from realm_tf.layers.spans import best_span, gold_span_mask
from realm_tf.losses.marginal_likelihood import (
    marginal_mlm_loss,
    token_log_probs,
)
from realm_tf.losses.orqa_losses import reader_loss, retrieval_loss

QUERY_SHAPE = (2, 8)
BLOCK_SHAPE = (2, 3, 8)
ANSWERS = np.array([[0, 1, 0]] * 2)


def make_features(shape):
    token_ids = np.random.default_rng(0).integers(1, 30, shape, "int32")
    ones = np.ones(shape, "int32")
    return {"token_ids": token_ids, "segment_ids": ones, "padding_mask": ones}


def make_layers(folder, dropout=0.0):
    """One of each, over one trunk, with the weights that lie in `folder`."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=8,
        dropout=dropout,
    )
    embedder = Embedder(backbone, embedding_dim=3, dropout=dropout)
    encoder = KnowledgeAugmentedEncoder(backbone)
    reader = SpanReader(backbone, max_span_width=3, span_hidden_dim=6)
    embedder.build(None)
    encoder.build(None, None)
    reader.build(None, None)
    load_or_save_weights([embedder, encoder, reader], folder)
    return embedder, encoder, reader


def load_or_save_weights(layers, folder):
    for number, layer in enumerate(layers):
        path = folder / f"{number}.npz"
        if path.exists():
            with np.load(path) as file:
                layer.set_weights([file[name] for name in file.files])
        else:
            np.savez(path, *layer.get_weights())


def forward(embedder, encoder, reader):
    """What every layer and every loss gives."""
    queries, blocks = make_features(QUERY_SHAPE), make_features(BLOCK_SHAPE)
    retrieval_logits = Retriever()(embedder(queries), embedder(blocks))
    mlm_logits = encoder(blocks, np.array([[1, 2]] * 2))
    log_probs = token_log_probs(mlm_logits, np.array([[5, 6]] * 2))
    span_logits = reader(blocks, blocks["segment_ids"])
    golds = np.full((2, 3, 1), 1), np.full((2, 3, 1), 2)
    gold_mask = gold_span_mask(*golds, joint_length=8, max_span_width=3)
    return {
        "retrieval_loss": retrieval_loss(retrieval_logits, ANSWERS),
        "marginal_mlm_loss": marginal_mlm_loss(
            retrieval_logits, log_probs, np.ones((2, 2))
        ),
        "reader_loss": reader_loss(span_logits, retrieval_logits, gold_mask),
        "best_span": keras.ops.stack(best_span(span_logits)),
    }


def weights_after_a_step(embedder):
    """Weights after a compiled training step, so its gradient is compared."""
    queries, blocks = make_features(QUERY_SHAPE), make_features(BLOCK_SHAPE)
    query_inputs, block_inputs = (
        {name: keras.Input(x.shape[1:], dtype="int32") for name, x in f.items()}
        for f in (queries, blocks)
    )
    logits = Retriever()(embedder(query_inputs), embedder(block_inputs))
    model = keras.Model([query_inputs, block_inputs], logits)
    model.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss=lambda answers, logits: retrieval_loss(logits, answers),
    )
    model.fit([queries, blocks], ANSWERS, verbose=0)
    return np.concatenate([w.ravel() for w in embedder.get_weights()])


def weights_after_a_step_with_dropout(folder, gradient_checkpointing):
    keras.utils.set_random_seed(1)
    embedder = make_layers(folder, dropout=0.3)[0]
    embedder.gradient_checkpointing = gradient_checkpointing
    return weights_after_a_step(embedder)


def compute(folder, compiled=lambda function: function):
    layers = make_layers(folder)
    outputs = compiled(lambda: forward(*layers))()
    kept, recomputed = (
        weights_after_a_step_with_dropout(folder, gradient_checkpointing)
        for gradient_checkpointing in (False, True)
    )
    weights = weights_after_a_step(layers[0])
    assert np.abs(kept - weights).max() > 1e-3  # Dropout did something.
    np.testing.assert_allclose(recomputed, kept, rtol=1e-5, atol=1e-6)
    return {**outputs, "weights": weights}


def test_jax_gives_the_numbers_of_tensorflow(tmp_path):
    pytest.importorskip("jax")
    expected = compute(tmp_path)
    subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    with np.load(tmp_path / "jax.npz") as actual:
        assert set(actual) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(
                actual[name], value, rtol=1e-4, atol=1e-6, err_msg=name
            )


if __name__ == "__main__":
    import jax

    assert keras.backend.backend() == "jax"
    folder = pathlib.Path(sys.argv[1])
    np.savez(folder / "jax.npz", **compute(folder, compiled=jax.jit))
