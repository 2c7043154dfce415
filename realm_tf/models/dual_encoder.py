"""DualEncoder: embedders learn to bring questions to their blocks."""

import keras
from keras import ops

from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.retriever import Retriever


@keras.saving.register_keras_serializable(package="realm_tf")
class DualEncoder(keras.Model):
    """Scores the questions of a batch against all blocks of the batch.

    Each row has one block and some questions it answers. The blocks of the
    other rows are the negatives (in-batch negatives), so that rows of one
    article side by side make hard ones.

    Args:
        embedder: `Embedder` of blocks, and of questions too if they have none
            of their own.
        query_embedder: `Embedder` of questions; defaults to `embedder`.
        **kwargs: of `keras.Model`.

    Call arguments:
        inputs: dict of int tensors: `question_token_ids`,
            `question_segment_ids`, `question_padding_mask` `(batch,
            num_questions, query_length)` and `block_token_ids`,
            `block_segment_ids`, `block_padding_mask` `(batch, block_length)`.

    Returns:
        float32 tensor `(batch, num_questions, batch)`: retrieval logits. Those
        of question `[i, j]` and its source block are at `[i, j, i]`.

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
        num_questions = ops.shape(questions)[1]
        flat = ops.reshape(questions, (-1, self.embedder.embedding_dim))
        logits = self.retriever(flat, blocks)
        return ops.reshape(logits, (-1, num_questions, ops.shape(blocks)[0]))

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
