"""tf.data for `DualEncoder`: blocks with the questions they answer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import trim
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.datasets.epoch_dataset import EpochDataset, as_dataset

_RUN_LENGTH = 8  # neighbours of one article in a batch


class RetrieverDataset(EpochDataset):
    """Batches for `DualEncoder`: each row a block and some of its questions.

    Blocks of one article stay together in runs, because they are hard
    negatives of each other (the order of ICT keeps them together too). Runs
    of similar length share a batch. Each epoch draws other hard negatives.

    Args:
        questions: sequence of `Question`.
        positives: block id that answers each question; -1 = none known, the
            question is skipped.
        labels: `AnswerLabels` of the same questions; a block that holds an
            answer is no negative.
        corpus: `Corpus`.
        featurizer: `Featurizer`.
        batch_size: blocks in a batch.
        num_questions: most questions of a block in a batch; others have their
            turn in another epoch.
        hard_negatives: int `(num_questions, any)`, ids of blocks that do not
            answer the question though a search finds them; -1 = none.
        num_negatives: hard negatives in a row.
        reshuffle: another order, and other negatives, in every epoch.
        seed: of the order.

    Raises:
        ValueError: if there are questions on fewer than 2 blocks.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        positives: np.ndarray,
        labels: AnswerLabels,
        corpus: Corpus,
        featurizer: Featurizer,
        *,
        batch_size: int = 32,
        num_questions: int = 4,
        hard_negatives: np.ndarray | None = None,
        num_negatives: int = 0,
        reshuffle: bool = True,
        seed: int = 0,
    ):
        self.corpus = corpus
        self.featurizer = featurizer
        self.num_questions = num_questions
        self.reshuffle = reshuffle
        super().__init__()
        self._seed = seed
        self.num_negatives = num_negatives
        self._labels = labels
        self._positives = positives
        self._texts = [question.question for question in questions]
        self._hard_negatives = hard_negatives
        self._questions: dict[int, list[int]] = {}
        for i, block_id in enumerate(positives.tolist()):
            if block_id >= 0:
                self._questions.setdefault(block_id, []).append(i)
        self.batch_size = min(batch_size, len(self._questions))
        if self.batch_size < 2:
            raise ValueError(
                "In-batch negatives need at least 2 blocks. Received: "
                f"batch_size={batch_size}, {len(self._questions)} blocks that "
                "answer a question. Use questions whose answers the corpus "
                "holds."
            )

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return len(self._questions) // self.batch_size

    def as_dataset(self, first: int = 0) -> tf.data.Dataset:
        """One epoch; see `EpochDataset`.

        Returns:
            `tf.data.Dataset` of (features of `DualEncoder`, int32 `(batch,
            num_questions)`, 1 = a question).
        """

        def ints(*shape: int | None) -> tf.TensorSpec:
            return tf.TensorSpec([self.batch_size, *shape], tf.int32)

        num_blocks = 1 + self.num_negatives
        signature = (
            {
                **{
                    f"question_{n}": ints(self.num_questions, None)
                    for n in FEATURES
                },
                **{f"block_{n}": ints(num_blocks, None) for n in FEATURES},
                "block_ids": ints(num_blocks),
                "answering_ids": ints(self.num_questions, None),
            },
            ints(self.num_questions),
        )
        return as_dataset(self._batches, signature, self.num_batches, first)

    def _batches(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        epoch = self.next_epoch() if self.reshuffle else 0
        rng = np.random.default_rng((self._seed, epoch))
        order = np.array([block for run in self._runs(rng) for block in run])
        # Rows that fill no batch are skipped, anywhere in the order: at
        # its end it would always be the longest blocks.
        spare = len(order) % self.batch_size
        left_out = rng.choice(len(order), size=spare, replace=False)
        batches = np.delete(order, left_out).reshape(-1, self.batch_size)
        for block_ids in rng.permutation(batches):
            yield self._batch(block_ids.tolist(), rng)

    def _runs(self, rng: np.random.Generator) -> list[list[int]]:
        articles: dict[str, list[int]] = {}
        for block_id in self._questions:
            title = self.corpus[block_id].title
            articles.setdefault(title, []).append(block_id)
        runs = []
        for blocks in articles.values():
            blocks = sorted(blocks, key=self._length)
            # Where runs begin changes from epoch to epoch.
            start = int(rng.integers(_RUN_LENGTH))
            cuts = [0, *range(start, len(blocks), _RUN_LENGTH), len(blocks)]
            runs += [blocks[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
        runs = [run for run in runs if run]
        noise = rng.uniform(0.8, 1.25, size=len(runs))
        order = np.argsort(
            [self._length(run[-1]) for run in runs] * noise, kind="stable"
        )
        return [runs[i] for i in order]

    def _length(self, block_id: int) -> int:
        return len(self.corpus.token_ids(block_id))

    def _batch(
        self, block_ids: Sequence[int], rng: np.random.Generator
    ) -> tuple[dict[str, Any], np.ndarray]:
        shape = (len(block_ids), self.num_questions)
        asked = np.full(shape, -1)
        for row, block_id in enumerate(block_ids):
            known = self._questions[block_id]
            n = min(len(known), self.num_questions)
            asked[row, :n] = rng.choice(known, size=n, replace=False)
        negatives = [self._draw(row[row >= 0].tolist(), rng) for row in asked]
        read = np.column_stack([block_ids, np.array(negatives)])
        texts = [self._texts[i] if i >= 0 else "" for i in asked.ravel()]
        found = iter(self.corpus.blocks(read[read >= 0]))
        blocks = [next(found) if i >= 0 else Block("") for i in read.ravel()]
        question = trim(numpy_features(self.featurizer.questions(texts)))
        block = trim(
            numpy_features(
                self.featurizer.blocks(
                    [b.title for b in blocks], [b.text for b in blocks]
                )
            )
        )
        return {
            **{
                f"question_{n}": question[n].reshape(*shape, -1)
                for n in FEATURES
            },
            **{
                f"block_{n}": block[n].reshape(*read.shape, -1)
                for n in FEATURES
            },
            "block_ids": read.astype(np.int32),
            "answering_ids": self._answering_ids(asked, read),
        }, (asked >= 0).astype(np.int32)

    def _draw(
        self, asked: list[int], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Hard negatives of a row: none answers any of its questions."""
        drawn = np.full(self.num_negatives, MISSING_BLOCK_ID)
        if self._hard_negatives is not None and self.num_negatives:
            found = np.unique(self._hard_negatives[asked])
            for i in asked:
                found = np.setdiff1d(found, self._labels.holders(i))
            own = [MISSING_BLOCK_ID, self._positives[asked[0]]]
            found = rng.permutation(np.setdiff1d(found, own))
            found = found[: self.num_negatives]
            drawn[: len(found)] = found
        return drawn

    def _answering_ids(
        self, asked: npt.NDArray[np.int64], read: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int32]:
        """The blocks of a batch that are no negatives, for each question."""
        found: list[npt.NDArray[np.int64]] = [
            np.intersect1d(
                read, np.append(self._labels.holders(i), self._positives[i])
            )
            if i >= 0
            else np.zeros(0, np.int64)
            for i in asked.ravel().tolist()
        ]
        # One more, so that missing blocks are no negatives either.
        width = 1 + max(map(len, found))
        ids = np.full((asked.size, width), MISSING_BLOCK_ID, np.int32)
        for row, some in zip(ids, found, strict=True):
            row[: len(some)] = some
        return ids.reshape(*asked.shape, width)


def numpy_features(features: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Tensors of a featurizer as arrays."""
    return {name: value.numpy() for name, value in features.items()}
