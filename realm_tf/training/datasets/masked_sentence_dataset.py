"""tf.data for `RealmPretrainer`: masked sentences with retrieved blocks."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.sentence_masks import (
    Draw,
    RecurringSpanMasks,
    SentenceMasks,
)
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import pack_pairs, pack_singles, trim
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.options import MaskedSentenceOptions
from realm_tf.training.datasets.candidate_blocks import (
    CandidateBlocks,
    MaskedSentence,
    MentioningBlocks,
    NullBlockAlone,
    RetrievedBlocks,
)
from realm_tf.training.datasets.step_dataset import StepDataset
from realm_tf.training.refresh.fixed_index import FixedIndex
from realm_tf.training.refresh.index_follower import IndexFollower

logger = logging.getLogger(__name__)

_NOTHING = np.zeros(0, np.int32)
_MOST_ROUNDS = 100
_BUCKET = 32


class MaskedSentenceDataset(StepDataset):
    """Batches of masked sentences, each with the null block and blocks found.

    The sentences of the batch are embedded and searched with one index
    version and the query embedder that belongs to it; a newer version is
    picked up between batches. Apart from that a batch is a function of its
    step, so that training can begin anywhere.

    Args:
        text: `Corpus` the sentences are from; may be another than the one
            that is searched.
        masks: `SentenceMasks`, of the blocks of `text`.
        follower: `IndexFollower` of the index that is searched, or
            `FixedIndex`; not used, and may be None, where nothing is searched.
        featurizer: `Featurizer` of both corpora.
        options: `MaskedSentenceOptions`.

    Raises:
        ValueError: if there is no `follower` and something to search, if
            `masks` do not tell mentions that are asked for, or if neighbours
            are to be excluded in another corpus than theirs.

    Source: google-research/language, realm/featurization.py and
    realm/example_generator.py.
    """

    def __init__(
        self,
        text: Corpus,
        masks: SentenceMasks,
        follower: IndexFollower | FixedIndex | None,
        featurizer: Featurizer,
        options: MaskedSentenceOptions | None = None,
    ):
        self.text = text
        self.masks = masks
        self.featurizer = featurizer
        self.options = options or MaskedSentenceOptions()
        batches = text.num_blocks // self.options.batch_size
        self.steps_per_epoch = max(1, batches)
        self.candidates = self._candidates(follower)
        self._skipped: dict[int, int] = {}
        self._epoch = -1
        self._order = np.zeros(0, np.int64)

    def batch_ids(self, step: int) -> np.ndarray:
        """Ids of the blocks of a step."""
        size = self.options.batch_size
        places = np.arange(step * size, (step + 1) * size)
        ids = np.empty(size, np.int64)
        for epoch in np.unique(places // self.text.num_blocks):
            here = places // self.text.num_blocks == epoch
            order = self._epoch_order(int(epoch))
            ids[here] = order[places[here] % self.text.num_blocks]
        return ids

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Features of `RealmPretrainer`."""
        sentences = self.sentences(step)
        query = self._query_features(sentences)
        blocks, age = self.candidates.find(step, sentences, query)
        features = {
            "query": query,
            **self._block_features(sentences, blocks),
        }
        if self.options.trim:
            features = {n: trim(f, _BUCKET) for n, f in features.items()}
        mask = np.zeros((len(sentences), self.options.num_candidates), np.int32)
        for row, found in enumerate(blocks):
            mask[row, : 1 + len(found)] = 1
        return {
            **{
                f"{prefix}_{name}": tower[name]
                for prefix, tower in features.items()
                for name in FEATURES
            },
            **self._targets(sentences),
            "candidate_mask": mask,
            "index_age": np.full(len(sentences), age, np.float32),
        }

    def sentences(self, step: int) -> list[MaskedSentence]:
        """The masked sentences of a batch."""
        rng = np.random.default_rng((self.options.seed, step))
        wanted = self.batch_ids(step)
        found: list[MaskedSentence] = []
        skipped = 0
        for _ in range(_MOST_ROUNDS):
            drawn = self._masked(wanted, rng)
            usable = [sentence for sentence in drawn if sentence is not None]
            found += usable
            missing = self.options.batch_size - len(found)
            if not missing:
                self._skipped[step] = skipped
                return found
            skipped += len(drawn) - len(usable)
            wanted = rng.integers(self.text.num_blocks, size=missing)
        raise ValueError(
            "`text` must have sentences with something to mask. Received: "
            f"{self.text.path}, where {len(found)} of "
            f"{self.options.batch_size} sentences were found in "
            f"{_MOST_ROUNDS} rounds. Tag it with `realm-tf spans`, or raise "
            "`query_length`."
        )

    def _candidates(
        self, follower: IndexFollower | FixedIndex | None
    ) -> CandidateBlocks:
        options = self.options
        count = options.num_candidates - 1
        if options.candidates == "mentions":
            if not isinstance(self.masks, RecurringSpanMasks):
                raise ValueError(
                    "`masks` must be `RecurringSpanMasks` with "
                    'candidates="mentions". Received: '
                    f"{type(self.masks).__name__}. Make them of the same "
                    'spans, or choose candidates="search".'
                )
            return MentioningBlocks(
                self.text,
                self.masks,
                count,
                options.seed,
                exclude_neighbours=options.exclude_neighbours,
            )
        if not options.searches:
            return NullBlockAlone(self.text)
        if follower is None:
            raise ValueError(
                "`follower` must be given where candidates are searched. "
                f"Received: None, num_candidates={options.num_candidates}. "
                "Give the index to search, or num_candidates=1."
            )
        searched = follower.corpus.fingerprint
        if options.exclude_neighbours and searched != self.text.fingerprint:
            raise ValueError(
                "`exclude_neighbours` needs sentences of the corpus that is "
                "searched, because ids of articles mean nothing in another. "
                f"Received: text fingerprint={self.text.fingerprint[:16]}, "
                f"searched fingerprint={searched[:16]}. Leave it out."
            )
        return RetrievedBlocks(
            follower,
            count,
            cut_own_block=options.own_block == "cut",
            exclude_neighbours=options.exclude_neighbours,
        )

    @property
    def description(self) -> dict[str, Any]:
        return {
            "corpus": self.candidates.corpus.fingerprint[:16],
            "text": self.text.fingerprint[:16],
            **self.masks.description,
            **dataclasses.asdict(self.options),
            **self.sizes,
        }

    @property
    def sizes(self) -> dict[str, int]:
        options = self.options
        return {
            "batch_size": options.batch_size,
            "num_candidates": options.num_candidates,
            "query_length": options.query_length,
            "block_length": self.featurizer.block_length,
        }

    def figures(self, step: int) -> dict[str, float]:
        """Sentences that could not be used and were replaced, in a batch.

        No whole wordpiece was to be masked, or one beyond `query_length`.
        """
        return {"num_skipped": float(self._skipped.pop(step, 0))}

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        options = self.options
        rows, candidates = options.batch_size, options.num_candidates
        block_length = self.featurizer.block_length
        shapes: dict[str, list[int | None]] = {
            "query": [rows, options.query_length],
            "candidate": [rows, candidates, block_length],
            "joint": [rows, candidates, options.query_length + block_length],
        }
        if options.trim:
            shapes = {n: [*shape[:-1], None] for n, shape in shapes.items()}
        return {
            **{
                f"{prefix}_{name}": tf.TensorSpec(shape, tf.int32)
                for prefix, shape in shapes.items()
                for name in FEATURES
            },
            **{
                name: tf.TensorSpec([rows, options.max_masks], dtype)
                for name, dtype in (
                    ("mask_positions", tf.int32),
                    ("mask_ids", tf.int32),
                    ("mask_weights", tf.float32),
                )
            },
            "candidate_mask": tf.TensorSpec([rows, candidates], tf.int32),
            "index_age": tf.TensorSpec([rows], tf.float32),
        }

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng((self.options.seed, epoch, 1))
            self._order = rng.permutation(self.text.num_blocks)
            self._epoch = epoch
        return self._order

    def _masked(
        self, block_ids: np.ndarray, rng: np.random.Generator
    ) -> list[MaskedSentence | None]:
        blocks = self.text.blocks(block_ids)
        draws = [self.masks.draw(block, rng) for block in blocks]
        tokens = self.featurizer.tokenize(
            [draw.text if draw else "" for draw in draws]
        )
        return [
            self._mask(block, draw, tokens.row(row), rng)
            for row, (block, draw) in enumerate(zip(blocks, draws, strict=True))
        ]

    def _mask(
        self, block: Block, draw: Draw | None, tokens: Any, rng: Any
    ) -> MaskedSentence | None:
        if draw is None:
            return None
        ids, starts, ends = tokens
        places = self.masks.places(draw, starts, ends, rng)
        longest = self.options.query_length - 2
        if not len(places) or places[-1] >= longest:
            return None
        return MaskedSentence(block, draw, ids[:longest], places)

    def _query_features(
        self, sentences: Sequence[MaskedSentence]
    ) -> dict[str, np.ndarray]:
        return pack_singles(
            [self._masked_ids(sentence) for sentence in sentences],
            self.options.query_length,
            self.featurizer,
        )

    def _masked_ids(self, sentence: MaskedSentence) -> np.ndarray:
        ids = np.array(sentence.token_ids, np.int32)
        ids[sentence.places] = self.featurizer.mask_id
        return ids

    def _block_features(
        self,
        sentences: Sequence[MaskedSentence],
        candidates: Sequence[Sequence[Block]],
    ) -> dict[str, dict[str, np.ndarray]]:
        """Inputs of block embedder and encoder; the null block comes first."""
        length = self.featurizer.block_length
        prompt = self.featurizer.block_prompt_ids
        pairs, joint = [], []
        for sentence, blocks in zip(sentences, candidates, strict=True):
            masked = self._masked_ids(sentence)
            texts = [(_NOTHING, _NOTHING), *map(self._wordpieces, blocks)]
            missing = self.options.num_candidates - len(texts)
            texts += [(_NOTHING, _NOTHING)] * missing
            pairs += [
                (np.concatenate([prompt, title])[: length - 3], body)
                for title, body in texts
            ]
            # The encoder sees no title, as in the original.
            joint += [(masked, body[: length - 2]) for _, body in texts]
        shape = (len(sentences), self.options.num_candidates, -1)
        packed = {
            "candidate": pack_pairs(pairs, length, self.featurizer),
            "joint": pack_pairs(
                joint, self.options.query_length + length, self.featurizer
            ),
        }
        return {
            prefix: {n: value.reshape(shape) for n, value in features.items()}
            for prefix, features in packed.items()
        }

    def _wordpieces(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Of the title and of the text of a block."""
        number = block.block_id
        if number == MISSING_BLOCK_ID:
            tokens = self.featurizer.tokenize([block.title, block.text])
            return tokens.row(0)[0], tokens.row(1)[0]
        corpus = self.candidates.corpus
        return corpus.title_ids(number), corpus.token_ids(number)

    def _targets(
        self, sentences: Sequence[MaskedSentence]
    ) -> dict[str, np.ndarray]:
        shape = (len(sentences), self.options.max_masks)
        positions, ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        weights = np.zeros(shape, np.float32)
        for row, sentence in enumerate(sentences):
            places = sentence.places[: self.options.max_masks]
            positions[row, : len(places)] = places + 1  # after [CLS]
            ids[row, : len(places)] = sentence.token_ids[places]
            weights[row, : len(places)] = 1.0
        return {
            "mask_positions": positions,
            "mask_ids": ids,
            "mask_weights": weights,
        }
