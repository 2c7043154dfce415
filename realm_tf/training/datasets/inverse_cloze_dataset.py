"""tf.data for `InverseClozePretrainer`: sentences and their blocks."""

import dataclasses
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import trim
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.options import InverseClozeOptions
from realm_tf.training.datasets.retriever_dataset import numpy_features
from realm_tf.training.datasets.step_dataset import StepDataset

_NUM_READERS = 12  # of the original: as many runs of blocks are in a batch


class InverseClozeDataset(StepDataset):
    """Batches of blocks, each with one of its sentences as the query.

    Runs of neighbouring blocks are shuffled, not blocks, so that those of one
    article are each other's negatives. A block of a single sentence is left
    out where that sentence would be taken out. Every batch is a function of
    its step, so that training can begin anywhere.

    Args:
        corpus: `Corpus`.
        featurizer: `Featurizer`.
        options: `InverseClozeOptions`.

    Raises:
        ValueError: if the corpus has fewer blocks than a batch.

    Source: Lee et al., 2019, section 6; google-research/language,
    orqa/datasets/ict_dataset.py.
    """

    def __init__(
        self,
        corpus: Corpus,
        featurizer: Featurizer,
        options: InverseClozeOptions | None = None,
    ):
        self.corpus = corpus
        self.featurizer = featurizer
        self.options = options or InverseClozeOptions()
        self._num_sentences = np.array(
            [len(block.sentence_starts) for block in corpus], np.int32
        )
        # Which blocks of one sentence are skipped differs between epochs;
        # every epoch has as many steps as one that skips them all.
        num_certain = int((self._num_sentences > 1).sum())
        self.steps_per_epoch = num_certain // self.options.batch_size
        if not self.steps_per_epoch:
            raise ValueError(
                "A batch must not hold more blocks than the corpus has with "
                f"two sentences or more. Received: {num_certain} of them, "
                f"batch_size={self.options.batch_size}. Lower the batch size."
            )
        self._epoch = -1
        self._order = np.zeros(0, np.int64)
        self._is_removed = np.zeros(0, bool)

    def batch_ids(self, step: int) -> np.ndarray:
        """Ids of the blocks of a batch."""
        self._begin_epoch(step // self.steps_per_epoch)
        size = self.options.batch_size
        start = step % self.steps_per_epoch * size
        return self._order[start : start + size]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Features of `InverseClozePretrainer`."""
        block_ids = self.batch_ids(step)
        is_removed = self._is_removed[block_ids]
        blocks = self.corpus.blocks(block_ids)
        rng = np.random.default_rng((self.options.seed, step))
        pairs = [
            _split(block, int(rng.integers(len(block.sentence_starts))), out)
            for block, out in zip(blocks, is_removed, strict=True)
        ]
        query = self.featurizer.questions([sentence for sentence, _ in pairs])
        block = self.featurizer.blocks(
            [block.title for block in blocks], [text for _, text in pairs]
        )
        towers = {
            "query": numpy_features(query),
            "block": numpy_features(block),
        }
        if self.options.trim:
            towers = {name: trim(tower) for name, tower in towers.items()}
        return {
            f"{prefix}_{name}": tower[name]
            for prefix, tower in towers.items()
            for name in FEATURES
        } | {
            "block_keys": np.array([_key(block) for block in blocks], np.int32),
            "is_removed": is_removed.astype(np.int32),
        }

    @property
    def description(self) -> dict[str, Any]:
        return {
            "corpus": self.corpus.fingerprint[:16],
            **dataclasses.asdict(self.options),
            **self.sizes,
        }

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "batch_size": self.options.batch_size,
            "query_length": self.featurizer.query_length,
            "block_length": self.featurizer.block_length,
        }

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        size = self.options.batch_size
        lengths: dict[str, int | None] = {
            "query": self.featurizer.query_length,
            "block": self.featurizer.block_length,
        }
        if self.options.trim:
            lengths = dict.fromkeys(lengths)
        return {
            f"{prefix}_{name}": tf.TensorSpec([size, length], tf.int32)
            for prefix, length in lengths.items()
            for name in FEATURES
        } | {
            name: tf.TensorSpec([size], tf.int32)
            for name in ("block_keys", "is_removed")
        }

    def _begin_epoch(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        rng = np.random.default_rng((self.options.seed, epoch, 1))
        num_blocks = len(self._num_sentences)
        is_removed = rng.random(num_blocks) < self.options.mask_rate
        is_left_out = is_removed & (self._num_sentences <= 1)
        usable = np.flatnonzero(~is_left_out & (self._num_sentences > 0))
        length = self.options.run_length or max(
            1, self.options.batch_size // _NUM_READERS
        )
        # Where runs begin changes from epoch to epoch.
        cuts = np.arange(rng.integers(1, length + 1), len(usable), length)
        runs = np.split(usable, cuts)
        self._order = np.concatenate(
            [runs[i] for i in rng.permutation(len(runs))]
        )
        self._is_removed = is_removed
        self._epoch = epoch


def _split(block: Block, number: int, remove: bool) -> tuple[str, str]:
    """A sentence, and the block with or without it."""
    raw = block.text.encode()
    start = block.sentence_starts[number]
    end = [*block.sentence_starts, len(raw)][number + 1]
    sentence = raw[start:end].decode().strip()
    if not remove:
        return sentence, block.text
    return sentence, (raw[:start] + raw[end:]).decode().strip()


def _key(block: Block) -> int:
    """Equal for blocks of equal text, and for few others."""
    return zlib.crc32(f"{block.title}\0{block.text}".encode()) & 0x7FFFFFFF
