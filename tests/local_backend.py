"""A backend that computes with the model itself, in place of its exports."""

import dataclasses
import threading

import numpy as np

from realm_tf.data.corpus.blocks import Block
from realm_tf.serving.backends.backend import Backend
from realm_tf.serving.bundle import BLOCK_EMBEDDER, QUERY_EMBEDDER, READER

NUM_ANSWERS = 5
EMPTY = {"text": "", "block_position": -1}


class LocalBackend(Backend):
    """Answers as the exported models do, by the model itself.

    `fault` is called before each call, and may wait or raise.
    """

    def __init__(self, qa, versions=(1, 1, 1)):
        self.qa = qa
        self.versions = dict(
            zip((QUERY_EMBEDDER, BLOCK_EMBEDDER, READER), versions, strict=True)
        )
        self.fault = lambda model: None
        self.calls = []
        self.reader_name = b"reader"
        self.names = {}  # id of a model -> its fingerprint, which takes long
        self.lock = threading.Lock()

    @property
    def num_parallel(self):
        return 1

    def predict(self, model, signature, inputs):
        self.fault(model)
        inputs = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }
        compute = {
            QUERY_EMBEDDER: self.embed_query,
            BLOCK_EMBEDDER: self.embed_block,
            READER: self.read_blocks,
        }
        with self.lock:
            outputs = compute[model](**inputs)
            self.calls.append((model, len(next(iter(inputs.values())))))
        return outputs, self.versions[model]

    def embed_query(self, question):
        texts = [text.decode() for text in question]
        embedder = self.qa.question_embedding
        embeddings, truncated = embedder.cut_questions(texts)
        return self.embedded(embeddings) | {"truncated": truncated}

    def embed_block(self, title, text):
        blocks = [
            Block(one.decode(), title=name.decode())
            for name, one in zip(title, text, strict=True)
        ]
        return self.embedded(self.qa.block_embedding.blocks(blocks))

    def embedded(self, embeddings):
        if id(self.qa) not in self.names:
            self.names[id(self.qa)] = self.qa.embedder_fingerprint.encode()
        name = self.names[id(self.qa)]
        return {
            "embedding": embeddings,
            "fingerprint": np.array([name] * len(embeddings), object),
        }

    def read_blocks(
        self, question, block_titles, block_texts, retrieval_scores
    ):
        readings = self.qa.engine.read(
            [text.decode() for text in question],
            [[title.decode() for title in row] for row in block_titles],
            [[text.decode() for text in row] for row in block_texts],
            np.array(retrieval_scores, np.float32),
            NUM_ANSWERS,
        )
        rows = [
            [span_fields(span) for span in spans]
            + [EMPTY] * (NUM_ANSWERS - len(spans))
            for spans in readings.spans
        ]
        return {
            name: np.array(
                [[s.get(name, 0) for s in row] for row in rows], kind
            )
            for name, kind in (
                ("text", object),
                ("block_position", np.int32),
                ("byte_start", np.int32),
                ("byte_end", np.int32),
                ("reading_probability", np.float32),
                ("probability", np.float32),
            )
        } | {
            "fingerprint": np.array([self.reader_name] * len(rows), object),
            "threshold": np.full(len(rows), readings.threshold, np.float32),
        }


def span_fields(span):
    return dataclasses.asdict(span) | {"text": span.text.encode()}
