"""The blocks that are read with a masked sentence: retrieved, or mentions."""

import abc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from realm_tf.data.corpus.blocks import Block, block_uid
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.sentence_masks import Draw, RecurringSpanMasks
from realm_tf.data.text.packing import trim
from realm_tf.training.refresh.fixed_index import FixedIndex
from realm_tf.training.refresh.index_follower import IndexFollower, Retrieval

# What a search may find in vain: the block itself, and copies of others.
_SPARE = 8
_SPARE_NEIGHBOURS = 32


class MaskedSentence(NamedTuple):
    """A sentence whose words are to be predicted.

    Args:
        block: the `Block` it is from.
        draw: `Draw` of the sentence.
        token_ids: its wordpieces, unmasked.
        places: those that are masked, ascending.
    """

    block: Block
    draw: Draw
    token_ids: np.ndarray
    places: np.ndarray


def without_sentence(sentence: MaskedSentence) -> Block:
    """The block of a sentence, outside of any corpus, without the sentence."""
    block, draw = sentence.block, sentence.draw
    raw = block.text.encode()
    end = draw.start + len(draw.text.encode())
    rest = f"{raw[: draw.start].decode()}{raw[end:].decode().lstrip()}"
    return Block(rest.rstrip(), block.title, block.document_id)


class CandidateBlocks(abc.ABC):
    """Abstract: the candidate blocks of each sentence, without the sentence.

    Args:
        corpus: `Corpus` of the blocks.
        count: most blocks for a sentence, the null block not counted.
        cut_own_block: keep the source block without the sentence; `False`
            excludes the source block.
        exclude_neighbours: exclude all other blocks of the source article; the
            sentences must be of `corpus`, or ids would be unrelated.
    """

    def __init__(
        self,
        corpus: Corpus,
        count: int,
        cut_own_block: bool = False,
        exclude_neighbours: bool = False,
    ):
        self.corpus = corpus
        self.count = count
        self.cut_own_block = cut_own_block
        self.exclude_neighbours = exclude_neighbours

    @abc.abstractmethod
    def find(
        self,
        step: int,
        sentences: Sequence[MaskedSentence],
        query: dict[str, np.ndarray],
    ) -> tuple[list[list[Block]], int]:
        """The blocks of the sentences of a batch, best first.

        Args:
            step: of the batch.
            sentences: list of `MaskedSentence`.
            query: features of the masked sentences.

        Returns:
            A list of `Block` for each sentence, and the age of the index in
            steps.
        """

    def usable(
        self, sentence: MaskedSentence, blocks: Sequence[Block]
    ) -> list[Block]:
        """The first ones that may be read, each text once."""
        own = sentence.block
        own_uid = block_uid(own.title, own.text)
        usable: dict[int, Block] = {}
        for block in blocks:
            uid = block_uid(block.title, block.text)
            if uid in usable:
                continue
            if uid == own_uid:
                rest = without_sentence(sentence)
                if self.cut_own_block and rest.text:
                    usable[uid] = rest
            elif not (
                self.exclude_neighbours and block.document_id == own.document_id
            ):
                usable[uid] = block
        return list(usable.values())[: self.count]


class NullBlockAlone(CandidateBlocks):
    """No block but the null block.

    Args:
        corpus: `Corpus`.
    """

    def __init__(self, corpus: Corpus):
        super().__init__(corpus, 0)

    def find(
        self,
        step: int,
        sentences: Sequence[MaskedSentence],
        query: dict[str, np.ndarray],
    ) -> tuple[list[list[Block]], int]:
        return [[] for _ in sentences], 0


class RetrievedBlocks(CandidateBlocks):
    """The blocks that an index finds.

    Args:
        follower: `IndexFollower` or `FixedIndex`.
        count: see `CandidateBlocks`.
        **kwargs: of `CandidateBlocks`.
    """

    def __init__(
        self,
        follower: IndexFollower | FixedIndex,
        count: int,
        **kwargs: bool,
    ):
        super().__init__(follower.corpus, count, **kwargs)
        self.follower = follower

    def find(
        self,
        step: int,
        sentences: Sequence[MaskedSentence],
        query: dict[str, np.ndarray],
    ) -> tuple[list[list[Block]], int]:
        retrieval = self.follower.acquire(step)
        blocks = self.search(sentences, query, retrieval)
        return blocks, max(step - retrieval.step, 0)

    def search(
        self,
        sentences: Sequence[MaskedSentence],
        query: dict[str, np.ndarray],
        retrieval: Retrieval,
    ) -> list[list[Block]]:
        """The blocks that one version of the index finds."""
        spare = _SPARE_NEIGHBOURS if self.exclude_neighbours else _SPARE
        embeddings = retrieval.embedder.features(trim(query))
        found = retrieval.index.search(embeddings, self.count + spare)
        size = self.corpus.num_blocks
        # Blocks that were added to the index have no wordpieces in the corpus.
        ids = np.where(found.block_ids < size, found.block_ids, -1)
        blocks = iter(self.corpus.blocks(ids[ids >= 0]))
        return [
            self.usable(sentence, [next(blocks) for i in row if i >= 0])
            for sentence, row in zip(sentences, ids.tolist(), strict=True)
        ]


class MentioningBlocks(CandidateBlocks):
    """Other blocks, at random, that have what is masked.

    Args:
        corpus: `Corpus` of sentences and blocks.
        masks: `RecurringSpanMasks` of it.
        count: see `CandidateBlocks`.
        seed: of chance.
        **kwargs: of `CandidateBlocks`.
    """

    def __init__(
        self,
        corpus: Corpus,
        masks: RecurringSpanMasks,
        count: int,
        seed: int = 0,
        **kwargs: bool,
    ):
        super().__init__(corpus, count, **kwargs)
        self.masks = masks
        self.seed = seed

    def find(
        self,
        step: int,
        sentences: Sequence[MaskedSentence],
        query: dict[str, np.ndarray],
    ) -> tuple[list[list[Block]], int]:
        rng = np.random.default_rng((self.seed, step, 2))
        found = []
        for sentence in sentences:
            holders = self.masks.holders(sentence.block, sentence.draw)
            count = min(self.count, len(holders))
            chosen = rng.choice(holders, count, replace=False)
            found.append(self.usable(sentence, self.corpus.blocks(chosen)))
        return found, 0
