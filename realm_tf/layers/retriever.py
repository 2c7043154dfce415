"""Query and block embeddings -> retrieval logits."""

import keras
from keras import ops

from realm_tf._constants import MASKED_LOGIT


@keras.saving.register_keras_serializable(package="realm_tf")
class Retriever(keras.layers.Layer):
    """Scores candidate blocks against queries: the logits of p(z | x).

    f(x, z) = e(x) . e(z), with no temperature and no normalisation.

    Args:
        **kwargs: of `keras.layers.Layer`. The computation is float32 under
            every dtype policy.

    Call arguments:
        query_embeddings: float tensor `(batch, embedding_dim)`.
        block_embeddings: float tensor `(batch, num_candidates,
            embedding_dim)`, or `(num_blocks, embedding_dim)` when every query
            has the same candidates (in-batch negatives).
        candidate_mask: optional bool tensor `(batch, num_candidates)`. False
            excludes a candidate: its logit is -1e9 and it gets no gradient.

    Returns:
        float32 tensor `(batch, num_candidates)`.

    Example:
    >>> query = np.array([[1.0, 2.0]])
    >>> blocks = np.array([[3.0, 0.0], [0.0, 4.0]])
    >>> Retriever()(query, blocks).numpy().tolist()
    [[3.0, 8.0]]

    Source: Guu et al., 2020, section 3.2 (arXiv:2002.08909). HF: RealmScorer;
    paper: z is `block`.
    """

    def __init__(self, **kwargs):
        # A half precision policy must not round the embeddings on the way in.
        super().__init__(autocast=False, **kwargs)

    def build(self, query_embeddings_shape, block_embeddings_shape, **kwargs):
        self.built = True

    def call(self, query_embeddings, block_embeddings, candidate_mask=None):
        queries = ops.cast(query_embeddings, "float32")
        blocks = ops.cast(block_embeddings, "float32")
        if len(blocks.shape) == 2:
            logits = ops.matmul(queries, ops.transpose(blocks))
        else:
            logits = ops.einsum("bd,bcd->bc", queries, blocks)
        if candidate_mask is None:
            return logits  # (batch, num_candidates)
        candidate_mask = ops.cast(candidate_mask, "bool")
        return ops.where(candidate_mask, logits, MASKED_LOGIT)
