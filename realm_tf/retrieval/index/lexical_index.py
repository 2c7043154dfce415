"""LexicalIndex: BM25 of the blocks of a version and of those added to it."""

import collections
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from realm_tf.data.corpus.blocks import Block
from realm_tf.retrieval.searchers.lexical_searcher import (
    K1,
    B,
    LexicalSearcher,
    rounded_length,
)
from realm_tf.retrieval.searchers.searcher import SearchResult, merge_results


class LexicalIndex:
    """Searches the words of an index version and of its later updates.

    Added blocks are scored with the statistics of the version: an update
    changes no score of another block, and all processes see the same scores.
    They become part of the statistics when the updates are folded in.

    Many threads may search.

    Args:
        searcher: `LexicalSearcher` of the blocks of the version.
    """

    def __init__(self, searcher: LexicalSearcher):
        self._searcher = searcher
        # Of added blocks, which are never changed: their places among the
        # added ones and how often they hold a word.
        self._holders: dict[str, list[tuple[int, int]]] = {}
        self._lengths: list[int] = []
        self._lock = threading.Lock()

    def search(
        self,
        text: str,
        k: int,
        *,
        added: Sequence[Block],
        hidden: npt.NDArray[np.int64],
    ) -> SearchResult:
        """Returns the `k` blocks with the highest BM25.

        Args:
            text: the query.
            k: number of results; missing ones are padded.
            added: blocks that were added to the version, deleted ones too, in
                the order of their ids, which follow those of the version.
            hidden: int64 array of block ids, ascending, never to return.

        Returns:
            `SearchResult` of a batch of one.
        """
        words = self._searcher.words(text)
        main = self._searcher.search(words, k, excluded=hidden)
        if not added:
            return main
        scores = self._scores_of_added(words, added)
        first = self._searcher.num_blocks
        ids = first + np.flatnonzero(scores)
        ids = ids[~np.isin(ids, hidden)]
        found = SearchResult(scores[ids - first][None], ids[None])
        return merge_results([main, found], k)

    def score(
        self,
        text: str,
        block_ids: npt.NDArray[np.int64],
        *,
        added: Sequence[Block],
    ) -> npt.NDArray[np.float32]:
        """BM25 of given blocks; see `LexicalSearcher.score`."""
        words = self._searcher.words(text)
        first = self._searcher.num_blocks
        of_main = np.where(block_ids < first, block_ids, -1)
        scores = self._searcher.score(words, of_main)
        if added:
            is_added = block_ids >= first
            of_added = self._scores_of_added(words, added)
            scores[is_added] = of_added[block_ids[is_added] - first]
        return scores

    def _scores_of_added(
        self, words: Sequence[str], added: Sequence[Block]
    ) -> npt.NDArray[np.float32]:
        with self._lock:
            for block in added[len(self._lengths) :]:
                self._count(block)
        scores = np.zeros(len(added), np.float64)
        for word in words:
            holders = [
                (row, count)
                for row, count in self._holders.get(word, ())
                if row < len(added)
            ]
            if not holders:
                continue
            rows, counts = np.array(holders).T
            lengths = np.array([self._lengths[row] for row in rows])
            norms = 1 - B + B * lengths / self._searcher.mean_length
            weight = self._searcher.idf(word) * (K1 + 1)
            scores[rows] += weight * counts / (counts + K1 * norms)
        return scores.astype(np.float32)

    def _count(self, block: Block) -> None:
        """Takes note of the words of the next added block."""
        row = len(self._lengths)
        words = self._searcher.analyzer.words(searched_text(block))
        for word, count in collections.Counter(words).items():
            holders = self._holders.setdefault(word, [])
            # An interrupt may have come in the midst of this block before.
            if not holders or holders[-1][0] != row:
                holders.append((row, count))
        self._lengths.append(rounded_length(len(words)))


def searched_text(block: Block) -> str:
    """What a lexical search reads of a block."""
    return f"{block.title}\n{block.text}"
