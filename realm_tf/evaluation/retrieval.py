"""Retrieval alone: which documents a search finds, and how well."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf._progress import Progress
from realm_tf.data.questions.qrels import Qrels, qrels_of
from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.ranking import (
    RankingReport,
    evaluate_run,
    import_ir_measures,
)
from realm_tf.evaluation.trec_run import Run
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.searchers.searcher import SearchResult

logger = logging.getLogger(__name__)

FEATURES = ("embeddings", "words", "both")
"""What blocks can be compared by."""

_MIN_DEPTH = 10  # of nDCG@10

Embed = Callable[[list[str]], npt.NDArray[np.float32]]
"""From texts to their embeddings `(batch, embedding_dim)`."""


@dataclasses.dataclass(frozen=True)
class RetrievalReport:
    """What was retrieved for a question set, and how well.

    Args:
        num_questions: int. Questions with known passages, which were asked.
        num_without_passages: int. Other questions, which were left out.
        num_unknown_passages: int. Known passages that are not in the index.
            They count as not found.
        depth: int. Documents that were ranked for each question, at most.
        rankings: dict from each of the features to its `RankingReport`.
        runs: dict from each of the features to its run, see `write_run`.
    """

    num_questions: int
    num_without_passages: int
    num_unknown_passages: int
    depth: int
    rankings: dict[str, RankingReport]
    runs: dict[str, Run] = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object, without the runs."""
        return {
            "num_questions": self.num_questions,
            "num_without_passages": self.num_without_passages,
            "num_unknown_passages": self.num_unknown_passages,
            "depth": self.depth,
            "rankings": {
                name: ranking.to_json()
                for name, ranking in self.rankings.items()
            },
        }


def evaluate_retrieval(
    index: BlockIndex,
    embed: Embed,
    questions: Sequence[Question],
    *,
    features: Sequence[str] | None,
    lexical_weight: float,
    ks: Iterable[int],
    batch_size: int,
    progress: Progress,
) -> RetrievalReport:
    """Ranks the documents of an index for all questions, and scores that.

    See `RealmQA.evaluate_retrieval`.
    """
    import_ir_measures()  # before the work, not after it
    features = _checked_features(features, index, lexical_weight)
    qrels = qrels_of(questions)
    asked = [question for question in questions if question.own_passages]
    ks = sorted(set(ks))
    depth = max(_MIN_DEPTH, *ks)
    ranker = _DocumentRanker(index, depth)
    runs: dict[str, Run] = {name: {} for name in features}
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        texts = [question.question for question in batch]
        searches = _searches(index, embed(texts), texts, lexical_weight)
        for name, run in runs.items():
            ranked = ranker.rank(searches[name])
            ids = (question.question_id for question in batch)
            run.update(zip(ids, ranked, strict=True))
        progress("retrieval", start + len(batch), len(asked), {})
    return RetrievalReport(
        num_questions=len(asked),
        num_without_passages=len(questions) - len(asked),
        num_unknown_passages=_count_unknown(index, qrels),
        depth=depth,
        rankings={
            name: evaluate_run(run, qrels, ks=ks) for name, run in runs.items()
        },
        runs=runs,
    )


def _searches(
    index: BlockIndex,
    embeddings: npt.NDArray[np.float32],
    texts: list[str],
    lexical_weight: float,
) -> dict[str, Callable[[int], SearchResult]]:
    return {
        "embeddings": lambda k: index.search(embeddings, k),
        "words": lambda k: index.search_words(texts, k),
        "both": lambda k: index.search(
            embeddings, k, texts=texts, lexical_weight=lexical_weight
        ),
    }


class _DocumentRanker:
    """Ranks documents by their best blocks.

    Args:
        index: `BlockIndex`.
        depth: documents to rank, where there are as many.
    """

    def __init__(self, index: BlockIndex, depth: int):
        self._index = index
        self._depth = depth
        self._documents: dict[int, str] = {}  # of the blocks that were found

    def rank(
        self, search: Callable[[int], SearchResult]
    ) -> list[dict[str, float]]:
        """Document -> score of its best block, for each question."""
        k = self._depth
        while True:
            found = search(k)
            ranked = self._best_blocks(found)
            is_all = (found.block_ids == MISSING_BLOCK_ID).any(axis=1)
            if all(
                done or len(scores) == self._depth
                for done, scores in zip(is_all, ranked, strict=True)
            ):
                return ranked
            k *= 2  # documents have several blocks

    def _best_blocks(self, found: SearchResult) -> list[dict[str, float]]:
        known = found.block_ids[found.block_ids != MISSING_BLOCK_ID]
        new = [i for i in np.unique(known) if i not in self._documents]
        for i, block in zip(new, self._index.blocks(new), strict=True):
            self._documents[i] = block.document_id
        ranked = []
        for ids, scores in zip(found.block_ids, found.scores, strict=True):
            best: dict[str, float] = {}
            for i, score in zip(ids, scores, strict=True):
                if i == MISSING_BLOCK_ID or len(best) == self._depth:
                    break
                best.setdefault(self._documents[i], float(score))
            ranked.append(best)
        return ranked


def _checked_features(
    features: Sequence[str] | None, index: BlockIndex, lexical_weight: float
) -> list[str]:
    possible = ["embeddings"]
    if index.has_words:
        possible += ["words"] + (["both"] if lexical_weight else [])
    if features is None:
        return possible
    if not features or not set(features) <= set(possible):
        raise ValueError(
            f"`features` must be some of {possible}. Received: "
            f"features={list(features)}, has_words={index.has_words}, "
            f"lexical_weight={lexical_weight}. Build the index with an "
            "`analyzer` for words, and set `qa.lexical_weight` for both."
        )
    return [name for name in FEATURES if name in features]


def _count_unknown(index: BlockIndex, qrels: Qrels) -> int:
    judged = sorted({name for grades in qrels.values() for name in grades})
    unknown = [name for name in judged if not index.has_document(name)]
    if unknown:
        logger.warning(
            "%d of %d known passages are not in the index and count as not "
            "found, the first %s.",
            len(unknown),
            len(judged),
            unknown[0],
        )
    return len(unknown)
