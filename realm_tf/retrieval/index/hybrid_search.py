"""Search by embeddings and by words: each finds candidates, both score them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.retrieval.searchers.searcher import (
    SearchResult,
    best_first,
    exact_scores,
)


def add_words(
    dense: SearchResult,
    queries: npt.NDArray[np.float32],
    texts: Sequence[str],
    k: int,
    weight: float,
    *,
    search: Callable[[str], npt.NDArray[np.int64]],
    score: Callable[[str, npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    embeddings: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
) -> SearchResult:
    """The best `k` blocks of each query by f = e(x) . e(z) + w bm25(x, z).

    Candidates are what `dense` holds and what `search` finds. Those that only
    one of the two found get the other feature computed.

    Args:
        dense: `SearchResult` of the embeddings, with exact scores.
        queries: float32 array `(batch, embedding_dim)`.
        texts: `(batch,)`, what was embedded.
        k: number of results.
        weight: w.
        search: from a text to the ids of its best blocks by BM25.
        score: from a text and block ids to their BM25.
        embeddings: from block ids to their embeddings.
    """
    result = SearchResult.empty(len(queries), k)
    all_bm25 = np.zeros((len(queries), k), np.float32)

    def search_one(row: int) -> None:
        known = dense.block_ids[row] != MISSING_BLOCK_ID
        ids, scores = dense.block_ids[row][known], dense.scores[row][known]
        others = np.setdiff1d(search(texts[row]), [MISSING_BLOCK_ID, *ids])
        found = exact_scores(queries[row], embeddings(others))
        ids, scores = np.append(ids, others), np.append(scores, found)
        bm25 = score(texts[row], ids)
        scores = (scores + np.float32(weight) * bm25).astype(np.float32)
        order = best_first(scores, ids, k)
        result.scores[row, : len(order)] = scores[order]
        result.block_ids[row, : len(order)] = ids[order]
        all_bm25[row, : len(order)] = bm25[order]

    if len(queries) == 1:
        search_one(0)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(search_one, range(len(queries))))
    return SearchResult(result.scores, result.block_ids, all_bm25)
