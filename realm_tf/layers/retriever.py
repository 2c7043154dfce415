"""Query and block embeddings -> retrieval logits."""

import keras
from keras import ops

from realm_tf._constants import MASKED_LOGIT


@keras.saving.register_keras_serializable(package="realm_tf")
class Retriever(keras.layers.Layer):
    """Scores candidate blocks against queries: the logits of p(z | x).

    f(x, z) = e(x) . e(z) + w bm25(x, z), with no temperature and no
    normalisation. w = 0 is the published retriever.

    Args:
        lexical: whether the layer has w, a scalar that is trained and begins
            at 0.
        **kwargs: of `keras.layers.Layer`. The computation is float32 under
            every dtype policy.

    Call arguments:
        query_embeddings: float tensor `(batch, embedding_dim)`.
        block_embeddings: float tensor `(batch, num_candidates,
            embedding_dim)`, or `(num_blocks, embedding_dim)` when every query
            has the same candidates (in-batch negatives).
        candidate_mask: optional bool tensor `(batch, num_candidates)`. False
            excludes a candidate: its logit is -1e9 and it gets no gradient.
        bm25: float tensor `(batch, num_candidates)`, BM25 of the
            candidates; needed where there is w.

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

    def __init__(self, lexical=False, **kwargs):
        # A half precision policy must not round the embeddings on the way in.
        super().__init__(autocast=False, **kwargs)
        self.lexical = lexical
        self.lexical_weight = None

    def build(self, query_embeddings_shape, block_embeddings_shape, **kwargs):
        if self.lexical:
            self.lexical_weight = self.add_weight(
                name="lexical_weight",
                shape=(),
                initializer="zeros",
                dtype="float32",
            )
        self.built = True

    def call(
        self,
        query_embeddings,
        block_embeddings,
        candidate_mask=None,
        bm25=None,
    ):
        queries = ops.cast(query_embeddings, "float32")
        blocks = ops.cast(block_embeddings, "float32")
        if len(blocks.shape) == 2:
            logits = ops.matmul(queries, ops.transpose(blocks))
        else:
            logits = ops.einsum("bd,bcd->bc", queries, blocks)
        if self.lexical:
            bm25 = ops.cast(bm25, "float32")
            logits = logits + self.lexical_weight * bm25
        if candidate_mask is None:
            return logits  # (batch, num_candidates)
        candidate_mask = ops.cast(candidate_mask, "bool")
        return ops.where(candidate_mask, logits, MASKED_LOGIT)

    def get_config(self):
        return {**super().get_config(), "lexical": self.lexical}
