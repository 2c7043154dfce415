"""DualEncoder: embedders learn to bring questions to their blocks."""

import keras
from keras import ops

from realm_tf._constants import MASKED_LOGIT
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.retriever import Retriever
from realm_tf.losses.in_batch_loss import own_block_mask


@keras.saving.register_keras_serializable(package="realm_tf")
class DualEncoder(keras.Model):
    """Scores the questions of a batch against all blocks of the batch.

    Each row has a block, some questions that it answers and, after it, hard
    negatives: blocks that were found for the questions and do not answer them.
    The blocks of the other rows are negatives, too (in-batch negatives), so
    that rows of one article side by side make hard ones.

    Args:
        embedder: `Embedder` of blocks, and of questions too if they have none
            of their own.
        query_embedder: `Embedder` of questions; defaults to `embedder`.
        **kwargs: of `keras.Model`.

    Call arguments:
        inputs: dict of int tensors: `question_token_ids`,
            `question_segment_ids`, `question_padding_mask` `(batch,
            num_questions, query_length)`, `block_token_ids`,
            `block_segment_ids`, `block_padding_mask` `(batch, num_blocks,
            block_length)`; `block_ids` `(batch, num_blocks)`, and
            `answering_ids` `(batch, num_questions, any)`, the ids of blocks
            that are no negatives of a question because they answer it, -1 for
            none.

    Returns:
        float32 tensor `(batch, num_questions, batch * num_blocks)`: retrieval
        logits, -1e9 for blocks that are not compared. Those of question `[i,
        j]` and the block of its row are at `[i, j, i * num_blocks]`.

    Source: Lee et al., 2019, section 6 (arXiv:1906.00300), with questions in
    place of sentences; Karpukhin et al., 2020 (arXiv:2004.04906).
    """

    def __init__(self, embedder, query_embedder=None, **kwargs):
        super().__init__(**kwargs)
        self.embedder = embedder
        self.query_embedder = query_embedder or embedder
        self.retriever = Retriever(name="retriever")

    def build(self, inputs_shape):
        for embedder in (self.embedder, self.query_embedder):
            # It may come with weights of its own already.
            if not embedder.built:
                embedder.build(None)
        self.built = True

    def call(self, inputs, training=None):
        questions, blocks = (
            embedder(
                {name: inputs[prefix + name] for name in FEATURES},
                training=training,
            )
            for prefix, embedder in (
                ("question_", self.query_embedder),
                ("block_", self.embedder),
            )
        )
        dim = self.embedder.embedding_dim
        logits = self.retriever(
            ops.reshape(questions, (-1, dim)), ops.reshape(blocks, (-1, dim))
        )
        shape = (*ops.shape(questions)[:2], -1)
        return _without_answers(
            ops.reshape(logits, shape),
            inputs["block_ids"],
            inputs["answering_ids"],
        )

    def get_config(self):
        is_shared = self.query_embedder is self.embedder
        query_embedder = None if is_shared else self.query_embedder
        return {
            **super().get_config(),
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "query_embedder": keras.saving.serialize_keras_object(
                query_embedder
            ),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("embedder", "query_embedder")
        }
        return cls(**{**config, **parts})


def _without_answers(logits, block_ids, answering_ids):
    """Leaves out what answers a question, except the block of its row."""
    num_rows, num_blocks = ops.shape(block_ids)
    same = ops.equal(
        ops.expand_dims(answering_ids, 2),
        ops.reshape(block_ids, (1, 1, -1, 1)),
    )
    own = own_block_mask(num_rows, num_rows * num_blocks)
    left_out = ops.logical_and(ops.any(same, -1), ops.logical_not(own)[:, None])
    return ops.where(left_out, MASKED_LOGIT, logits)
