"""RealmQA: questions in, answers with their evidence out."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf import _constants
from realm_tf.checkpoints.bert import BertFolder
from realm_tf.data.blocks import Block
from realm_tf.data.corpus import Corpus
from realm_tf.data.featurizers import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.models.answers import Answer, select_answers
from realm_tf.models.embedding import TextEmbedder, trim
from realm_tf.models.open_qa import OpenQA
from realm_tf.models.projection import fit_projection
from realm_tf.retrieval.block_index import BlockIndex

_PROJECTION_SAMPLE = 2048  # blocks


class RealmQA:
    """x."""

    def __init__(
        self,
        featurizer: Featurizer,
        query_embedder: Embedder,
        block_embedder: Embedder,
        reader: SpanReader,
        *,
        num_read: int = 5,
        projection_fitted: bool = True,
    ):
        self.featurizer = featurizer
        self.num_read = num_read
        self.index: BlockIndex | None = None
        self.projection_fitted = projection_fitted
        self.reader = reader
        self.set_embedders(query_embedder, block_embedder)
        _build(self.query_embedder, self.block_embedder, reader)
        spec = tf.TensorSpec([None, None, None], tf.int32)
        self._read = tf.function(
            lambda joint, mask: reader(joint, block_mask=mask, training=False),
            input_signature=[
                {
                    name: spec
                    for name in ("token_ids", "segment_ids", "padding_mask")
                },
                spec,
            ],
        )

    def set_embedders(self, query_embedder, block_embedder):
        self.query_embedder = query_embedder
        self.block_embedder = block_embedder
        self._embed_queries = TextEmbedder(query_embedder, self.featurizer)
        self._embed_blocks = (
            self._embed_queries
            if query_embedder is block_embedder
            else TextEmbedder(block_embedder, self.featurizer)
        )

    @classmethod
    def from_bert(
        cls,
        folder: str | os.PathLike[str],
        *,
        embedding_dim: int = _constants.EMBEDDING_DIM,
        dropout: float = 0.1,
        dtype: Any = None,
        **featurizer_options: Any,
    ) -> "RealmQA":
        bert = BertFolder.open(folder, **featurizer_options)
        mean = bert.pooling == "mean"
        embedder = Embedder(
            bert.load_backbone(dropout=dropout, dtype=dtype),
            embedding_dim=embedding_dim,
            pooling=bert.pooling,
            layer_norm_epsilon=None if mean else 1e-12,
            dropout=0.0 if mean else dropout,
            name="embedder",
        )
        reader = SpanReader(
            bert.load_backbone(dropout=dropout, dtype=dtype), name="reader"
        )
        return cls(
            bert.featurizer,
            embedder,
            embedder,
            reader,
            projection_fitted=not mean,
        )

    def fit_projection(self, corpus: Corpus) -> None:
        if self.projection_fitted:
            return
        rng = np.random.default_rng(0)
        size = min(_PROJECTION_SAMPLE, corpus.num_blocks)
        sample = np.sort(rng.choice(corpus.num_blocks, size, replace=False))
        dense = self.block_embedder.projection
        kernel, bias = dense.kernel, dense.bias
        dim = self.block_embedder.backbone.hidden_dim
        probe = Embedder(
            self.block_embedder.backbone,
            embedding_dim=dim,
            pooling="mean",
            layer_norm_epsilon=None,
        )
        probe.build(None)
        probe.projection.kernel.assign(np.eye(dim))
        embeddings = TextEmbedder(probe, self.featurizer).blocks(
            corpus.blocks(sample)
        )
        new_kernel, new_bias = fit_projection(
            embeddings, self.block_embedder.embedding_dim
        )
        kernel.assign(new_kernel)
        bias.assign(new_bias)
        self.projection_fitted = True

    def build_index(self, corpus: Corpus, path, **options) -> BlockIndex:
        self.fit_projection(corpus)
        self.index = BlockIndex.build(
            path,
            corpus,
            self._embed_blocks.corpus(corpus),
            embedder_fingerprint=self.embedder_fingerprint,
            **options,
        )
        return self.index

    @property
    def embedder_fingerprint(self) -> str:
        digest = hashlib.sha256()
        for variable in self.block_embedder.variables:
            value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
            digest.update(json.dumps(value.shape).encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def predict(self, questions: Sequence[str], *, num_read=None, num_alternatives=4):
        num_read = num_read or self.num_read
        embeddings = self._embed_queries.questions(questions)
        found = self.index.search(embeddings, num_read)
        return [
            self._answer(q, found.scores[i], found.block_ids[i], num_alternatives)
            for i, q in enumerate(questions)
        ]

    def _answer(self, question, scores, block_ids, num_alternatives):
        ids = block_ids[block_ids >= 0]
        scores = scores[: len(ids)]
        blocks = self.index.blocks(ids)
        joint = self.featurizer.joint(
            [question] * len(blocks),
            [b.title for b in blocks],
            [b.text for b in blocks],
        )
        joint = trim({k: v.numpy()[None] for k, v in joint.items()}, 32)
        logits = self._read(
            {k: joint[k] for k in ("token_ids", "segment_ids", "padding_mask")},
            joint["block_mask"],
        ).numpy()[0]
        spans = select_answers(
            blocks, scores, logits, joint["starts"][0], joint["ends"][0],
            max_span_width=self.reader.max_span_width,
            num_answers=1 + num_alternatives,
        )
        p = np.exp(scores - scores.max())
        p /= p.sum()
        return Answer(
            **spans[0].__dict__,
            question=question, blocks=tuple(blocks),
            block_probabilities=tuple(p.tolist()), alternatives=tuple(spans[1:]),
        )


def _build(*layers):
    for layer in layers:
        if not layer.built:
            layer.build(None, None) if isinstance(layer, SpanReader) else layer.build(None)
