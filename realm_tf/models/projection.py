"""A projection for sentence encoders that have none of their own."""

import numpy as np

from realm_tf._constants import COSINE_SCALE
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.layers.embedder import Embedder

_SAMPLE = 2048  # blocks; 5 for each dimension of a MiniLM state


def fit_projection(
    embedder: Embedder, featurizer: Featurizer, corpus: Corpus
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a projection to a sample of a corpus.

    Args:
        embedder: `Embedder` with mean pooling; not changed.
        featurizer: `Featurizer`.
        corpus: `Corpus`.

    Returns:
        kernel `(hidden_dim, embedding_dim)` and bias `(embedding_dim,)` for
        `embedder.projection`, see `principal_components`.
    """
    rng = np.random.default_rng(0)
    size = min(_SAMPLE, corpus.num_blocks)
    sample = np.sort(rng.choice(corpus.num_blocks, size, replace=False))
    hidden_dim = embedder.backbone.hidden_dim
    unprojected = Embedder(
        embedder.backbone,
        embedding_dim=hidden_dim,
        pooling=embedder.pooling,
        layer_norm_epsilon=None,
        normalize_states=embedder.normalize_states,
    )
    unprojected.build(None)
    unprojected.projection.kernel.assign(np.eye(hidden_dim))
    states = TextEmbedder(unprojected, featurizer).blocks(corpus.blocks(sample))
    kernel, bias = principal_components(states, embedder.embedding_dim)
    # Inner products of states that are not normalised have their own scale.
    scale = 1 if embedder.normalize_states else COSINE_SCALE**-0.5
    return kernel * scale, bias * scale


def principal_components(
    embeddings: np.ndarray, embedding_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """The projection that keeps most of the inner products of `embeddings`.

    Projected embeddings are scaled so that the retrieval logits of two
    L2-normalised embeddings are about 20 times their cosine: a softmax over
    plain cosines would be flat. Embeddings are centred on their mean, unless
    there are fewer than `embedding_dim`, which say little of it (and one alone
    would become zero).

    Args:
        embeddings: float `(num_texts, hidden_dim)`.
        embedding_dim: width to project to. Beyond `hidden_dim` there is
            nothing left to keep: the rest is zero.

    Returns:
        kernel `(hidden_dim, embedding_dim)` and bias `(embedding_dim,)`.
    """
    embeddings = embeddings.astype(np.float64)
    num_texts, hidden_dim = embeddings.shape
    mean = np.zeros(hidden_dim)
    if num_texts >= embedding_dim:
        mean = embeddings.mean(axis=0)
    centred = embeddings - mean
    # All directions, even those that no text of a small sample has.
    _, components = np.linalg.eigh(centred.T @ centred)  # best last
    kernel = components[:, ::-1][:, :embedding_dim] * np.sqrt(COSINE_SCALE)
    missing = max(embedding_dim - hidden_dim, 0)
    kernel = np.pad(kernel, ((0, 0), (0, missing)))
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)
