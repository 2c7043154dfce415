"""Measures of rankings of documents, as trec_eval computes them."""

import dataclasses
import json
import logging
import os
import statistics
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

NDCG, MAP, MRR = (
    "ndcg_at_10",
    "mean_average_precision",
    "mean_reciprocal_rank",
)
KS = (1, 2, 5, 10, 20, 50, 100)
"""Cut-offs of recall."""

_SHOWN_KS = (1, 5, 20, 100)


@dataclasses.dataclass(frozen=True)
class RankingReport:
    """Measures of a run, means over its queries; between 0 and 1.

    Args:
        num_queries: int. Judged queries, with a relevant document each.
        num_unranked: int. Those of them that have no document in the run; all
            their measures are 0.
        num_unjudged: int. Queries of the run that are left out, because no
            document is relevant to them.
        ndcg_at_10: float. Normalised discounted cumulative gain of the first
            10; its gain is the graded relevance.
        mean_average_precision: float. Over all documents of the run.
        mean_reciprocal_rank: float. Of the first relevant document.
        recall_at_k: dict from k to the share of the relevant documents that
            are among the first k.
        scores: dict from each query to its measures by their names.
    """

    num_queries: int
    num_unranked: int
    num_unjudged: int
    ndcg_at_10: float
    mean_average_precision: float
    mean_reciprocal_rank: float
    recall_at_k: dict[int, float]
    scores: dict[str, dict[str, float]] = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The means as a flat JSON object."""
        names = [field.name for field in dataclasses.fields(self)]
        flat = {name: getattr(self, name) for name in names}
        del flat["scores"], flat["recall_at_k"]
        return flat | {
            recall_name(k): share for k, share in self.recall_at_k.items()
        }


def evaluate_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    ks: Iterable[int] = KS,
) -> RankingReport:
    """Scores a run by relevance judgements.

    Args:
        run: query id -> document id -> score; see `read_run`.
        qrels: query id -> document id -> relevance; see `read_qrels`. Without
            a judgement, a document is not relevant; queries without a relevant
            document are left out.
        ks: iterable of int. Cut-offs of recall, each at least 1.

    Returns:
        `RankingReport`.

    Raises:
        ImportError: if ir-measures is not installed.
        ValueError: if no query has a relevant document, or a k is below 1.

    Example:
    >>> report = evaluate_run({"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 1}})
    >>> report.mean_reciprocal_rank
    0.5
    """
    judged = {
        query: dict(grades)
        for query, grades in qrels.items()
        if any(grade > 0 for grade in grades.values())
    }
    ks = sorted(set(ks))
    if not judged or min(ks, default=1) < 1:
        raise ValueError(
            "`qrels` must have a relevant document, and `ks` must be at least "
            f"1. Received: {len(qrels)} queries, {len(judged)} with a relevant "
            f"document, ks={ks}."
        )
    ranked = {name: dict(run[name]) for name in judged if run.get(name)}
    num_unranked = len(judged) - len(ranked)
    num_unjudged = len(run.keys() - judged)
    if num_unranked or num_unjudged:
        logger.warning(
            "%d of %d judged queries have no document in the run and count 0. "
            "%d others in the run are left out.",
            num_unranked,
            len(judged),
            num_unjudged,
        )
    scores = _scores(ranked, judged, ks)
    means = {
        name: statistics.fmean(score[name] for score in scores.values())
        for name in next(iter(scores.values()))
    }
    return RankingReport(
        num_queries=len(judged),
        num_unranked=num_unranked,
        num_unjudged=num_unjudged,
        ndcg_at_10=means[NDCG],
        mean_average_precision=means[MAP],
        mean_reciprocal_rank=means[MRR],
        recall_at_k={k: means[recall_name(k)] for k in ks},
        scores=scores,
    )


def recall_name(k: int) -> str:
    """Name of recall in the first k."""
    return f"recall_at_{k}"


def write_scores(
    rankings: Mapping[str, RankingReport], path: str | os.PathLike[str]
) -> None:
    """Writes one JSON line for each query: its measures in each ranking.

    Args:
        rankings: name -> `RankingReport`, of the same judgements.
        path: the new file.
    """
    queries = next(iter(rankings.values())).scores
    with open(path, "w", encoding="utf-8") as file:
        for query in queries:
            scores = {name: r.scores[query] for name, r in rankings.items()}
            line = json.dumps({"id": query} | scores, ensure_ascii=False)
            file.write(line + "\n")


def ranking_table(
    rankings: Mapping[str, RankingReport],
) -> tuple[list[str], list[list[Any]]]:
    """The main measures of several rankings: columns, and a row for each.

    R@k is recall in the first k.
    """
    ks = [
        k
        for k in _SHOWN_KS
        if all(k in ranking.recall_at_k for ranking in rankings.values())
    ]
    columns = ["", "nDCG@10", "MAP", "MRR", *(f"R@{k}" for k in ks)]
    rows = [
        [
            name,
            ranking.ndcg_at_10,
            ranking.mean_average_precision,
            ranking.mean_reciprocal_rank,
            *(ranking.recall_at_k[k] for k in ks),
        ]
        for name, ranking in rankings.items()
    ]
    return columns, rows


def _scores(
    run: dict[str, dict[str, float]],
    qrels: dict[str, dict[str, int]],
    ks: list[int],
) -> dict[str, dict[str, float]]:
    library = import_ir_measures()
    measures = {
        library.nDCG @ 10: NDCG,
        library.AP: MAP,
        library.RR: MRR,
        **{library.R @ k: recall_name(k) for k in ks},
    }
    scores: dict[str, dict[str, float]] = {name: {} for name in qrels}
    for metric in library.iter_calc(list(measures), qrels, run):
        scores[metric.query_id][measures[metric.measure]] = metric.value
    return scores


def import_ir_measures() -> ModuleType:
    """Returns the module ir_measures.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise ModuleNotFoundError(
            "Measures of rankings need ir-measures. Install it with `pip "
            f"install 'realm-tf[eval]'`. Received: {error}"
        ) from error
    module: ModuleType = ir_measures
    return module
