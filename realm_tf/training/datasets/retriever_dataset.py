"""tf.data for `DualEncoder`: blocks with the questions they answer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import trim
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.training.datasets.epoch_dataset import EpochDataset, as_dataset

_RUN_LENGTH = 8  # neighbours of one article in a batch


class RetrieverDataset(EpochDataset):
    """Batches for `DualEncoder`: each row a block and some of its questions.

    Blocks of one article stay together in runs, because they are the hardest
    negatives of each other (the order of ICT keeps them together too). Runs
    of similar length share a batch.

    Args:
        questions: sequence of `Question`.
        positives: block id that answers each question; -1 = none known, the
            question is skipped.
        corpus: `Corpus`.
        featurizer: `Featurizer`.
        batch_size: blocks in a batch.
        num_questions: most questions of a block in a batch; others have their
            turn in another epoch.
        reshuffle: another order, and other negatives, in every epoch.
        seed: of the order.

    Raises:
        ValueError: if there are questions on fewer than 2 blocks.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        positives: np.ndarray,
        corpus: Corpus,
        featurizer: Featurizer,
        *,
        batch_size: int = 32,
        num_questions: int = 4,
        reshuffle: bool = True,
        seed: int = 0,
    ):
        self.corpus = corpus
        self.featurizer = featurizer
        self.num_questions = num_questions
        self.reshuffle = reshuffle
        super().__init__()
        self._seed = seed
        self._questions: dict[int, list[str]] = {}
        for question, block_id in zip(questions, positives, strict=True):
            if block_id >= 0:
                self._questions.setdefault(int(block_id), []).append(
                    question.question
                )
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
        block = tf.TensorSpec([self.batch_size, None], tf.int32)
        question = tf.TensorSpec(
            [self.batch_size, self.num_questions, None], tf.int32
        )
        signature = (
            {f"block_{name}": block for name in FEATURES}
            | {f"question_{name}": question for name in FEATURES},
            tf.TensorSpec([self.batch_size, self.num_questions], tf.int32),
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
        blocks = self.corpus.blocks(block_ids)
        mask = np.zeros((len(block_ids), self.num_questions), np.int32)
        texts = []
        for row, block_id in enumerate(block_ids):
            asked = self._questions[block_id]
            n = min(len(asked), self.num_questions)
            chosen = rng.choice(len(asked), size=n, replace=False)
            texts += [asked[i] for i in chosen]
            texts += [""] * (self.num_questions - n)
            mask[row, :n] = 1
        question = trim(numpy_features(self.featurizer.questions(texts)))
        block = trim(
            numpy_features(
                self.featurizer.blocks(
                    [b.title for b in blocks], [b.text for b in blocks]
                )
            )
        )
        shape = (*mask.shape, -1)
        return {
            **{f"question_{n}": question[n].reshape(shape) for n in FEATURES},
            **{f"block_{n}": block[n] for n in FEATURES},
        }, mask


def numpy_features(features: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Tensors of a featurizer as arrays."""
    return {name: value.numpy() for name, value in features.items()}
