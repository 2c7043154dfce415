"""A projection for sentence encoders that have none of their own."""

import logging

import numpy as np

from realm_tf.data.corpus import Corpus
from realm_tf.data.featurizers import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.models.embedding import TextEmbedder

logger = logging.getLogger(__name__)

LOGIT_SCALE = 20.0
"""Inverse temperature of sentence-transformers' cosine loss."""

_SAMPLE = 2048  # blocks; 5 for each dimension of a MiniLM state


def fit_projection(
    embedder: Embedder, featurizer: Featurizer, corpus: Corpus
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a projection to a sample of a corpus.

    Args:
        embedder: `Embedder` with mean pooling; left as it is.
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
    )
    unprojected.build(None)
    unprojected.projection.kernel.assign(np.eye(hidden_dim))
    states = TextEmbedder(unprojected, featurizer).blocks(corpus.blocks(sample))
    return principal_components(states, embedder.embedding_dim)


def principal_components(
    embeddings: np.ndarray, embedding_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """The projection that keeps most of the inner products of `embeddings`.

    Projected embeddings are scaled so that the retrieval logits of two
    L2-normalised embeddings are about 20 times their cosine: a softmax over
    plain cosines would be flat.

    Args:
        embeddings: float `(num_texts, hidden_dim)`.
        embedding_dim: width to project to.

    Returns:
        kernel `(hidden_dim, embedding_dim)` and bias `(embedding_dim,)`.
    """
    mean = embeddings.mean(axis=0)
    _, _, components = np.linalg.svd(embeddings - mean, full_matrices=False)
    missing = embedding_dim - len(components)
    if missing > 0:
        logger.warning(
            "%d texts span %d of %d dimensions; the rest stays empty.",
            len(embeddings),
            len(components),
            embedding_dim,
        )
        components = np.pad(components, ((0, missing), (0, 0)))
    kernel = components[:embedding_dim].T * np.sqrt(LOGIT_SCALE)
    # Queries are centred too; it moves all scores of a query alike.
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)
