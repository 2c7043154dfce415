"""A backend that computes with the model itself, in place of its exports."""

import dataclasses
import threading

import numpy as np

from realm_tf.data.corpus.answer import Evidence
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
        return self.embedded(
            self.qa.question_embedding.questions_one_by_one(texts)
        ) | {"truncated": np.array(self.qa.featurizer.is_truncated(texts))}

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
        rows = []
        for asked, titles, texts, scores in zip(
            question, block_titles, block_texts, retrieval_scores, strict=True
        ):
            given = enumerate(zip(titles, texts, scores, strict=True))
            there = [(n, row) for n, row in given if row[2] > -1e30]
            evidence = Evidence(
                asked.decode(),
                tuple(
                    Block(text.decode(), title=title.decode(), block_id=place)
                    for place, (title, text, _) in there
                ),
                np.array([row[2] for _, row in there], np.float32),
                False,
            )
            answer = self.qa._answerer.read(
                evidence, len(there), NUM_ANSWERS - 1, 0.0
            )
            spans = [answer, *answer.alternatives]
            rows.append([span_fields(span) for span in spans])
            rows[-1] += [EMPTY] * (NUM_ANSWERS - len(spans))
        return {
            name: np.array(
                [[s.get(name, 0) for s in row] for row in rows], kind
            )
            for name, kind in (
                ("text", object),
                ("block_position", np.int32),
                ("byte_start", np.int32),
                ("byte_end", np.int32),
                ("retrieval_probability", np.float32),
                ("reading_probability", np.float32),
                ("probability", np.float32),
            )
        } | {"fingerprint": np.array([self.reader_name] * len(rows), object)}


def span_fields(span):
    fields = dataclasses.asdict(span)
    return fields | {
        "text": span.text.encode(),
        "block_position": span.block.block_id,
    }
