"""OpenQA: the question embedder and the reader, trained together."""

import keras
from keras import ops

from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.retriever import Retriever

RETRIEVAL = "retrieval"
READING = "reading"


@keras.saving.register_keras_serializable(package="realm_tf")
class OpenQA(keras.Model):
    """Retrieval logits and span logits of questions and their candidates.

    Which blocks are candidates was decided by a search before; here their
    (frozen) embeddings are rescored with the current question embedder,
    so the gradients of both losses reach it.

    The logit of a span is that of the reader plus the retrieval logit of its
    block: one softmax then runs over all spans of all blocks of a question.

    Args:
        query_embedder: `Embedder` of questions.
        reader: `SpanReader`.
        lexical: add BM25 to the retrieval logits, see `Retriever`.
        **kwargs: of `keras.Model`.

    Call arguments:
        inputs: dict of
            `query_token_ids`, `query_segment_ids`, `query_padding_mask`:
                int `(batch, query_length)`;
            `retrieved_embeddings`: float `(batch, num_retrieved,
                embedding_dim)`, blocks for the retrieval loss;
            `read_embeddings`: float `(batch, num_read, embedding_dim)`;
            `joint_token_ids`, `joint_segment_ids`, `joint_padding_mask`,
                `block_mask`: int `(batch, num_read, joint_length)`;
            `read_mask`: int `(batch, num_read)`, 0 = no such block;
            `retrieved_bm25` `(batch, num_retrieved)` and `read_bm25` `(batch,
                num_read)`: float, needed if `lexical`.

    Returns:
        dict of float32 tensors: `retrieval` `(batch, num_retrieved)` and
        `reading` `(batch, num_read, num_spans)`, both logits; spans in the
        order of `span_positions`, impossible ones at -1e9 or below.

    Source: Lee et al., 2019, sections 3 and 7 (arXiv:1906.00300); original:
    `language/orqa/models/orqa_model.py`. HF: RealmForOpenQA.
    """

    def __init__(self, query_embedder, reader, lexical=False, **kwargs):
        super().__init__(**kwargs)
        self.query_embedder = query_embedder
        self.reader = reader
        self.retriever = Retriever(lexical, name="retriever")
        self.retriever.build(None, None)

    def build(self, inputs_shape):
        # A part may come with weights of its own already.
        if not self.query_embedder.built:
            self.query_embedder.build(None)
        if not self.reader.built:
            self.reader.build(None, None)
        self.built = True

    def call(self, inputs, training=None):
        query, joint = (
            {name: inputs[prefix + name] for name in FEATURES}
            for prefix in ("query_", "joint_")
        )
        embeddings = self.query_embedder(query, training=training)
        retrieval = self.retriever(
            embeddings,
            inputs["retrieved_embeddings"],
            bm25=inputs.get("retrieved_bm25"),
        )
        read = self.retriever(
            embeddings,
            inputs["read_embeddings"],
            inputs["read_mask"],
            inputs.get("read_bm25"),
        )
        spans = self.reader(
            joint, block_mask=inputs["block_mask"], training=training
        )
        reading = spans + ops.expand_dims(read, axis=-1)
        return {RETRIEVAL: retrieval, READING: reading}

    def export(self, filepath, *args, input_signature=None, **kwargs):
        """See `keras.Model.export`; any sizes, unless a signature says."""
        super().export(
            filepath,
            *args,
            input_signature=input_signature or [self._signature()],
            **kwargs,
        )

    def _signature(self):
        shapes = {
            **{f"query_{name}": 2 for name in FEATURES},
            **{f"joint_{name}": 3 for name in FEATURES},
            "block_mask": 3,
            "read_mask": 2,
        }
        signature = {
            name: keras.InputSpec(shape=(None,) * rank, dtype="int32")
            for name, rank in shapes.items()
        }
        width = self.query_embedder.embedding_dim
        for part in ("retrieved", "read"):
            signature[f"{part}_embeddings"] = keras.InputSpec(
                shape=(None, None, width), dtype="float32"
            )
            if self.retriever.lexical:
                signature[f"{part}_bm25"] = keras.InputSpec(
                    shape=(None, None), dtype="float32"
                )
        return signature

    def get_config(self):
        return {
            **super().get_config(),
            "lexical": self.retriever.lexical,
            "query_embedder": keras.saving.serialize_keras_object(
                self.query_embedder
            ),
            "reader": keras.saving.serialize_keras_object(self.reader),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("query_embedder", "reader")
        }
        return cls(**{**config, **parts})
