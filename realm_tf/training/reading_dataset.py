"""tf.data for `OpenQA`: retrieval happens here, in the input stage."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf import _constants
from realm_tf.data.featurizers import Featurizer
from realm_tf.data.questions import Question
from realm_tf.layers.spans import gold_span_mask
from realm_tf.models.embedding import TextEmbedder, trim
from realm_tf.models.open_qa import FEATURES, READING, RETRIEVAL
from realm_tf.retrieval.block_index import BlockIndex
from realm_tf.training.batching import length_batches
from realm_tf.training.labels import AnswerLabels, QuestionLabels
from realm_tf.training.retriever_dataset import as_dataset, numpy_features

_SEARCH_BATCH = 256
_JOINT_BUCKET = 32  # wordpieces


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
    """How the batches of `ReadingDataset` are made.

    Args:
        batch_size: questions.
        num_retrieved: blocks in the retrieval loss of a question. The paper
            has 5000; what the index holds is the limit.
        num_read: blocks that are read for a question. The paper has 5.
        max_span_width: of the reader, in wordpieces.
        require_answer: put the best-ranked right block among those read where
            the search did not, and leave out questions without any. The
            original does neither, and learns nothing from such questions.
        trim: pad to the longest row of a batch in place of `joint_length`.
            Static shapes (TPU, XLA) need `False`.
        seed: of the order.
    """

    batch_size: int = 16
    num_retrieved: int = 5000
    num_read: int = 5
    max_span_width: int = 10
    require_answer: bool = True
    trim: bool = True
    seed: int = 0


class ReadingDataset:
    """Batches for `OpenQA`, with retrieval by the current question embedder.

    Every epoch embeds all questions with the weights of that moment and
    searches the index, so candidates follow the training.

    Args:
        questions: sequence of `Question`.
        labels: `AnswerLabels` of the same questions.
        index: `BlockIndex`.
        query_embedder: `TextEmbedder` of the questions.
        options: `ReadingOptions`.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        labels: AnswerLabels,
        index: BlockIndex,
        query_embedder: TextEmbedder,
        options: ReadingOptions,
    ):
        self.index = index
        self.query_embedder = query_embedder
        self.featurizer: Featurizer = query_embedder.featurizer
        self.options = options
        self._labels = labels
        known = [labels.question(i) for i in range(len(questions))]
        self._rows = [
            (i, questions[i].question, known[i])
            for i in range(len(questions))
            if len(known[i].gold) or not options.require_answer
        ]
        self.num_left_out = len(questions) - len(self._rows)
        if not self._rows:
            raise ValueError(
                "At least one question must have an answer in the corpus. "
                f"Received: {len(questions)} questions, none of whose answers "
                "is in a block. Check that questions and corpus match."
            )
        self.batch_size = min(options.batch_size, len(self._rows))
        self.num_retrieved = min(options.num_retrieved, index.num_blocks)
        self._rng = np.random.default_rng(options.seed)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self._rows), self.batch_size * 32)
        return whole * 32 + rest // self.batch_size

    def as_dataset(self) -> tf.data.Dataset:
        """One epoch; each iteration retrieves again and has another order.

        Returns:
            `tf.data.Dataset` of (features of `OpenQA`, labels), where labels
            are int8 for `MarginalLoss`: `retrieval` `(batch, num_retrieved)`
            and `reading` `(batch, num_read, num_spans)`.
        """
        batch, read = self.batch_size, self.options.num_read
        dim = self.index.embedding_dim
        joint_length = None if self.options.trim else self._joint_length
        query_length = (
            None if self.options.trim else self.featurizer.query_length
        )

        def ints(*shape: int | None) -> tf.TensorSpec:
            return tf.TensorSpec([batch, *shape], tf.int32)

        def floats(*shape: int) -> tf.TensorSpec:
            return tf.TensorSpec([batch, *shape, dim], tf.float32)

        features = {
            **{f"query_{name}": ints(query_length) for name in FEATURES},
            **{f"joint_{name}": ints(read, joint_length) for name in FEATURES},
            "block_mask": ints(read, joint_length),
            "read_mask": ints(read),
            "read_embeddings": floats(read),
            "retrieved_embeddings": floats(self.num_retrieved),
        }
        labels = {
            RETRIEVAL: tf.TensorSpec([batch, self.num_retrieved], tf.int8),
            READING: tf.TensorSpec([batch, read, None], tf.int8),
        }
        return as_dataset(self._batches, (features, labels), self.num_batches)

    @property
    def _joint_length(self) -> int:
        return self.featurizer.joint_length

    def _batches(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        retrieved = self._retrieve()
        read = np.stack(
            [
                self._choose(ids, labels)
                for ids, (_, _, labels) in zip(
                    retrieved, self._rows, strict=True
                )
            ]
        )
        lengths = np.array([self._length(ids) for ids in read])
        for rows in length_batches(lengths, self.batch_size, self._rng):
            yield self._batch(rows, retrieved[rows], read[rows])

    def _retrieve(self) -> np.ndarray:
        texts = [text for _, text, _ in self._rows]
        embeddings = self.query_embedder.questions(texts)
        found = [
            self.index.search(
                embeddings[start : start + _SEARCH_BATCH], self.num_retrieved
            ).block_ids
            for start in range(0, len(texts), _SEARCH_BATCH)
        ]
        return np.concatenate(found)

    def _choose(
        self, retrieved: np.ndarray, labels: QuestionLabels
    ) -> np.ndarray:
        """The blocks to read: the best, a right one among them if need be."""
        usable = retrieved[~np.isin(retrieved, labels.ambiguous)]
        chosen = usable[: self.options.num_read]
        right = np.isin(chosen, labels.gold)
        if self.options.require_answer and not right.any():
            ranked = usable[np.isin(usable, labels.gold)]
            best = ranked[0] if len(ranked) else labels.gold[0]
            chosen = np.append(chosen[: self.options.num_read - 1], best)
        missing = self.options.num_read - len(chosen)
        return np.pad(
            chosen, (0, missing), constant_values=_constants.MISSING_BLOCK_ID
        )

    def _length(self, block_ids: np.ndarray) -> int:
        corpus = self.index.corpus
        return max(
            len(corpus.token_ids(i)) + len(corpus.title_ids(i))
            for i in block_ids.tolist()
            if i >= 0
        )

    def _batch(
        self, rows: np.ndarray, retrieved: np.ndarray, read: np.ndarray
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        chosen = [self._rows[row] for row in rows]
        queries = numpy_features(
            self.featurizer.questions([text for _, text, _ in chosen])
        )
        joint = self._joint([text for _, text, _ in chosen], read)
        if self.options.trim:
            queries, joint = trim(queries), trim(joint, _JOINT_BUCKET)
        features = {
            **{f"query_{name}": queries[name] for name in FEATURES},
            **{f"joint_{name}": joint[name] for name in FEATURES},
            "block_mask": joint["block_mask"],
            "read_mask": (read >= 0).astype(np.int32),
            "read_embeddings": self._embeddings(read),
            "retrieved_embeddings": self._embeddings(retrieved),
        }
        return features, {
            RETRIEVAL: _retrieval_labels(retrieved, chosen),
            READING: self._reading_labels(chosen, read, joint),
        }

    def _embeddings(self, block_ids: np.ndarray) -> np.ndarray:
        return self.index.embeddings(np.maximum(block_ids, 0))

    def _joint(
        self, questions: list[str], read: np.ndarray
    ) -> dict[str, np.ndarray]:
        num_read = read.shape[1]
        texts, titles = [], []
        for block_id in read.ravel().tolist():
            block = self.index.corpus[block_id] if block_id >= 0 else None
            texts.append(block.text if block else "")
            titles.append(block.title if block else "")
        repeated = [q for q in questions for _ in range(num_read)]
        joint = numpy_features(self.featurizer.joint(repeated, titles, texts))
        return {
            name: value.reshape((*read.shape, -1))
            for name, value in joint.items()
        }

    def _reading_labels(
        self,
        chosen: list[tuple[int, str, QuestionLabels]],
        read: np.ndarray,
        joint: dict[str, np.ndarray],
    ) -> np.ndarray:
        spans = [
            [
                self._labels.spans(
                    i,
                    labels,
                    block_id,
                    {name: value[b, z] for name, value in joint.items()},
                )
                if block_id in labels.gold
                else []
                for z, block_id in enumerate(read[b].tolist())
            ]
            for b, (i, _, labels) in enumerate(chosen)
        ]
        most = max(len(found) for row in spans for found in row)
        gold = np.full((*read.shape, max(most, 1), 2), -1, np.int32)
        for b, row in enumerate(spans):
            for z, found in enumerate(row):
                gold[b, z, : len(found)] = np.array(found).reshape(-1, 2)
        length = joint["token_ids"].shape[-1]
        return np.asarray(
            gold_span_mask(
                gold[..., 0], gold[..., 1], length, self.options.max_span_width
            )
        ).astype(np.int8)


def _retrieval_labels(
    retrieved: np.ndarray, chosen: list[tuple[int, str, QuestionLabels]]
) -> np.ndarray:
    labels = np.zeros(retrieved.shape, np.int8)
    for row, (_, _, known) in enumerate(chosen):
        labels[row][np.isin(retrieved[row], known.gold)] = 1
        labels[row][np.isin(retrieved[row], known.ambiguous)] = -1
    labels[retrieved < 0] = -1
    return labels
