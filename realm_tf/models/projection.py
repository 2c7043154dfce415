"""A projection for sentence encoders that have none of their own."""

import logging

import numpy as np

logger = logging.getLogger(__name__)

LOGIT_SCALE = 20.0
"""Inverse temperature of sentence-transformers' cosine loss."""


def fit_projection(
    embeddings: np.ndarray, embedding_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Principal components that keep the inner products of `embeddings`.

    Projected embeddings are scaled so that the retrieval logits of two
    L2-normalised embeddings are about 20 times their cosine: a softmax over
    plain cosines would be flat.

    Args:
        embeddings: float `(num_texts, hidden_dim)`, a sample of the corpus.
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
