"""tf.data for `OpenQA`: retrieval happens here, in the input stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf import _constants
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import trim, trim_joint
from realm_tf.engine.fingerprints import embedder_fingerprint
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.errors import MismatchError
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.spans import gold_span_mask, span_positions
from realm_tf.models.open_qa import READING, RETRIEVAL
from realm_tf.options import ReadingOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.datasets.answer_labels import (
    AnswerLabels,
    QuestionLabels,
)
from realm_tf.training.datasets.batching import length_batches
from realm_tf.training.datasets.epoch_dataset import EpochDataset, as_dataset
from realm_tf.training.datasets.retriever_dataset import numpy_features

_SEARCH_BATCH = 256


class _Row(NamedTuple):
    """A question that is trained on, and its number among all."""

    number: int
    question: str
    labels: QuestionLabels


class _Retrieved(NamedTuple):
    """Candidates of questions, `(num_questions, num_retrieved)` each."""

    block_ids: np.ndarray
    bm25: np.ndarray


class ReadingDataset(EpochDataset):
    """Batches for `OpenQA`, with retrieval by the current question embedder.

    An epoch that begins with a changed question embedder embeds all questions
    anew and searches the index, so candidates follow the training.

    Args:
        questions: sequence of `Question`.
        labels: `AnswerLabels` of the same questions.
        index: `BlockIndex`.
        query_embedder: `TextEmbedder` of the questions.
        options: `ReadingOptions`.
        lexical_weight: function that returns the current w of the search, see
            `BlockIndex.search`.

    Raises:
        MismatchError: if `labels` and `index` are of different corpora.
        ValueError: if no question has an answer in the corpus.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        labels: AnswerLabels,
        index: BlockIndex,
        query_embedder: TextEmbedder,
        options: ReadingOptions,
        lexical_weight: Callable[[], float] = lambda: 0.0,
    ):
        if labels.corpus.fingerprint != index.corpus.fingerprint:
            raise MismatchError(
                "`labels` and `index` must be of the same corpus. Received: "
                f"labels of {labels.corpus.path}, index of "
                f"{index.corpus.path}. Rebuild one of the two."
            )
        super().__init__()
        self.index = index
        self.query_embedder = query_embedder
        self.featurizer: Featurizer = query_embedder.featurizer
        self.options = options
        self._lexical_weight = lexical_weight
        self._labels = labels
        rows = [
            _Row(i, question.question, labels.question(i))
            for i, question in enumerate(questions)
        ]
        self._rows = [
            row
            for row in rows
            if len(row.labels.gold) or not options.require_answer
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
        self._embedded_by = ""  # fingerprint of the question embedder
        self._embeddings = np.zeros((0, 0), np.float32)
        self._retrieved_by = ("", 0.0)  # the same, and w
        self._retrieved = _Retrieved(np.zeros(0), np.zeros(0))

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        full, spare = divmod(len(self._rows), self.batch_size)
        return full + bool(spare and not self.options.drop_remainder)

    def as_dataset(self, first: int = 0) -> tf.data.Dataset:
        """One epoch; see `EpochDataset`.

        Returns:
            `tf.data.Dataset` of (features of `OpenQA`, labels), where labels
            are int8 for `MarginalLoss`: `retrieval` `(batch, num_retrieved)`
            and `reading` `(batch, num_read, num_spans)`.
        """
        batch = self.batch_size if self.options.drop_remainder else None
        read = self.options.num_read
        dim = self.index.embedding_dim
        query_length = joint_length = num_spans = None
        if not self.options.trim:
            query_length = self.featurizer.query_length
            joint_length = self.featurizer.joint_length
            starts, _ = span_positions(
                joint_length, self.options.max_span_width
            )
            num_spans = len(starts)

        def ints(*shape: int | None) -> tf.TensorSpec:
            return tf.TensorSpec([batch, *shape], tf.int32)

        def floats(*shape: int) -> tf.TensorSpec:
            return tf.TensorSpec([batch, *shape], tf.float32)

        features = {
            **{f"query_{name}": ints(query_length) for name in FEATURES},
            **{f"joint_{name}": ints(read, joint_length) for name in FEATURES},
            "block_mask": ints(read, joint_length),
            "read_mask": ints(read),
            "read_embeddings": floats(read, dim),
            "read_bm25": floats(read),
            "retrieved_embeddings": floats(self.num_retrieved, dim),
            "retrieved_bm25": floats(self.num_retrieved),
        }
        labels = {
            RETRIEVAL: tf.TensorSpec([batch, self.num_retrieved], tf.int8),
            READING: tf.TensorSpec([batch, read, num_spans], tf.int8),
        }
        return as_dataset(
            self._batches, (features, labels), self.num_batches, first
        )

    def _batches(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        if self.epoch is None:
            self._retrieve()
        retrieved = self._retrieved
        read = np.stack(
            [
                self._choose(ids, row.labels)
                for ids, row in zip(
                    retrieved.block_ids, self._rows, strict=True
                )
            ]
        )
        lengths = np.array([self._length(ids[ids >= 0]) for ids in read])
        rng = np.random.default_rng((self.options.seed, self.next_epoch()))
        for rows in length_batches(
            lengths,
            self.batch_size,
            rng,
            drop_remainder=self.options.drop_remainder,
        ):
            some = _Retrieved(retrieved.block_ids[rows], retrieved.bm25[rows])
            yield self._batch(rows, some, read[rows])

    def begin(self, epoch: int) -> None:
        """Retrieves, too, with the current weights."""
        super().begin(epoch)
        self._retrieve()

    def _retrieve(self) -> None:
        """Finds blocks for all questions by the current embedder and w.

        Without a change there is nothing to find.
        """
        fingerprint = embedder_fingerprint(
            self.query_embedder.embedder, self.featurizer
        )
        questions = self._texts()
        if fingerprint != self._embedded_by:
            self._embeddings = self.query_embedder.questions(questions)
            self._embedded_by = fingerprint
        by = (fingerprint, self._lexical_weight())
        if by != self._retrieved_by:
            self._retrieved = self._search(questions, by[1])
            self._retrieved_by = by

    def state(self) -> Mapping[str, npt.ArrayLike]:
        """What the epoch was retrieved by, when it began."""
        return {
            "embeddings": self._embeddings,
            "lexical_weight": self._retrieved_by[1],
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Retrieves by a `state`, until the weights change."""
        self._embeddings = state["embeddings"]
        self._embedded_by = embedder_fingerprint(
            self.query_embedder.embedder, self.featurizer
        )
        self._retrieved_by = (self._embedded_by, self._lexical_weight())
        self._retrieved = self._search(
            self._texts(), float(state["lexical_weight"])
        )

    def _texts(self) -> list[str]:
        return [row.question for row in self._rows]

    def _search(
        self, questions: list[str], lexical_weight: float
    ) -> _Retrieved:
        parts = []
        for start in range(0, len(questions), _SEARCH_BATCH):
            texts = questions[start : start + _SEARCH_BATCH]
            found = self.index.search(
                self._embeddings[start : start + _SEARCH_BATCH],
                self.num_retrieved,
                texts=texts,
                lexical_weight=lexical_weight,
            )
            bm25 = found.bm25
            if bm25 is None:
                bm25 = self._bm25(texts, found.block_ids)
            parts.append(_Retrieved(found.block_ids, bm25))
        ids, bm25 = map(np.concatenate, zip(*parts, strict=True))
        # Documents that were added to the index have no labels.
        known = ids < self.index.corpus.num_blocks
        return _Retrieved(
            np.where(known, ids, _constants.MISSING_BLOCK_ID),
            np.where(known, bm25, np.float32(0)),
        )

    def _choose(
        self, retrieved: np.ndarray, labels: QuestionLabels
    ) -> np.ndarray:
        """The blocks to read: the best, a right one among them if need be."""
        usable = retrieved[retrieved >= 0]
        usable = usable[~np.isin(usable, labels.ambiguous)]
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
        lengths = [
            len(corpus.token_ids(i)) + len(corpus.title_ids(i))
            for i in block_ids.tolist()
        ]
        return max(lengths, default=0)

    def _batch(
        self, rows: np.ndarray, retrieved: _Retrieved, read: np.ndarray
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        chosen = [self._rows[row] for row in rows]
        questions = [row.question for row in chosen]
        queries = numpy_features(self.featurizer.questions(questions))
        joint = self._joint(questions, read)
        if self.options.trim:
            queries = trim(queries)
            joint = trim_joint(joint, self.options.max_span_width)
        features = {
            **{f"query_{name}": queries[name] for name in FEATURES},
            **{f"joint_{name}": joint[name] for name in FEATURES},
            "block_mask": joint["block_mask"],
            "read_mask": (read >= 0).astype(np.int32),
            "read_embeddings": self.index.embeddings(read),
            "read_bm25": self._bm25(questions, read),
            "retrieved_embeddings": self.index.embeddings(retrieved.block_ids),
            "retrieved_bm25": retrieved.bm25,
        }
        return features, {
            RETRIEVAL: _retrieval_labels(retrieved.block_ids, chosen),
            READING: self._reading_labels(chosen, read, joint),
        }

    def _bm25(self, questions: list[str], block_ids: np.ndarray) -> np.ndarray:
        if not self.index.has_words:
            return np.zeros(block_ids.shape, np.float32)
        return self.index.bm25(questions, block_ids)

    def _joint(
        self, questions: list[str], read: np.ndarray
    ) -> dict[str, np.ndarray]:
        known = read.ravel() >= 0
        found = iter(self.index.corpus.blocks(read.ravel()[known]))
        blocks = [next(found) if here else Block("") for here in known]
        joint = numpy_features(
            self.featurizer.joint(
                np.repeat(questions, read.shape[1]).tolist(),
                [block.title for block in blocks],
                [block.text for block in blocks],
            )
        )
        return {
            name: value.reshape((*read.shape, -1))
            for name, value in joint.items()
        }

    def _reading_labels(
        self,
        chosen: list[_Row],
        read: np.ndarray,
        joint: dict[str, np.ndarray],
    ) -> np.ndarray:
        spans = [
            [
                self._labels.spans(
                    row.number,
                    row.labels,
                    block_id,
                    {name: value[b, z] for name, value in joint.items()},
                )
                if block_id in row.labels.gold
                or not (row.labels.has_passage or block_id < 0)
                else []
                for z, block_id in enumerate(read[b].tolist())
            ]
            for b, row in enumerate(chosen)
        ]
        most = max(len(found) for blocks in spans for found in blocks)
        gold = np.full((*read.shape, max(most, 1), 2), -1, np.int32)
        for b, blocks in enumerate(spans):
            for z, found in enumerate(blocks):
                gold[b, z, : len(found)] = np.array(found).reshape(-1, 2)
        length = joint["token_ids"].shape[-1]
        return np.asarray(
            gold_span_mask(
                gold[..., 0], gold[..., 1], length, self.options.max_span_width
            )
        ).astype(np.int8)


def _retrieval_labels(retrieved: np.ndarray, chosen: list[_Row]) -> np.ndarray:
    labels = np.zeros(retrieved.shape, np.int8)
    for b, row in enumerate(chosen):
        labels[b][np.isin(retrieved[b], row.labels.gold)] = 1
        labels[b][np.isin(retrieved[b], row.labels.ambiguous)] = -1
    labels[retrieved < 0] = -1
    return labels
