"""Nearest vectors, recall against speed on one thread, against Faiss."""

import argparse
import dataclasses
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import timing

from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.scann_searcher import ScannSearcher

DIM = 128
K = 5
NUM_CENTERS = 2_000
NOISE = 0.7  # of a vector around its centre, and of a query around a vector
SLOW_QUERIES = 10  # of exact search, which needs a thousand times as long
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128)
RECALLS = (0.9, 0.95, 0.99)


@dataclasses.dataclass
class Point:
    """One setting of one searcher."""

    searcher: str
    setting: str
    prepare: Callable[[], None]
    search: Callable[[np.ndarray], np.ndarray]  # (n, DIM) -> ids (n, K)
    num_queries: int | None = None
    recall: float = 0.0
    rate: float = 0.0  # queries/s


def measure(args: argparse.Namespace) -> dict[str, Any]:
    vectors, queries = make_vectors(args.num_vectors, args.num_queries)
    notes = [
        f"{len(vectors):,} x {DIM}, of length 1, around {NUM_CENTERS:,} "
        f"centres; {len(queries)} queries one by one on one thread."
    ]
    with tempfile.TemporaryDirectory() as work:
        points: list[Point] = []
        for make in (brute_force, scann, ivf, ivf_codes, hnsw):
            start = time.perf_counter()
            points += make(vectors, pathlib.Path(work))
            seconds = time.perf_counter() - start
            notes.append(f"{points[-1].searcher}: built in {seconds:.0f} s.")
        faiss.omp_set_num_threads(1)
        time_points(points, queries, args.num_turns)
    curve = [
        {
            "searcher": point.searcher,
            "setting": point.setting,
            f"recall@{K}": f"{point.recall:.3f}",
            "queries/s": point.rate,
        }
        for point in points
    ]
    tables = {"recall against speed": curve}
    if ratios := at_equal_recall(points):
        tables["speed at a recall, of the curves"] = ratios
    return {"tables": tables, "notes": notes}


def make_vectors(
    num_vectors: int, num_queries: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((NUM_CENTERS, DIM), np.float32)
    vectors = rng.standard_normal((num_vectors, DIM), np.float32) * NOISE
    vectors += centers[rng.integers(0, NUM_CENTERS, num_vectors)]
    queries = rng.standard_normal((num_queries, DIM), np.float32) * NOISE
    queries += vectors[rng.integers(0, num_vectors, num_queries)]
    for rows in (vectors, queries):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return vectors, queries


def brute_force(vectors: np.ndarray, work: pathlib.Path) -> list[Point]:
    searcher = BruteForceSearcher(vectors)
    return [
        Point(
            "BruteForceSearcher",
            "exact",
            prepare=lambda: None,
            search=lambda queries: searcher.search(queries, K).block_ids,
            num_queries=SLOW_QUERIES,
        )
    ]


def scann(vectors: np.ndarray, work: pathlib.Path) -> list[Point]:
    searcher = ScannSearcher.build(vectors, work / "scann")
    options = searcher.options

    def prepare(count: int) -> None:
        # It takes the options at each search, so one build is enough.
        searcher.options = dataclasses.replace(options, leaves_to_search=count)

    return [
        Point(
            "ScannSearcher",
            f"leaves_to_search={count}",
            prepare=functools.partial(prepare, count),
            search=lambda queries: searcher.search(queries, K).block_ids,
        )
        for count in sorted({*EFFORTS, options.leaves_to_search})
        if count <= options.num_leaves
    ]


def ivf(vectors: np.ndarray, work: pathlib.Path) -> list[Point]:
    settings = [f"nprobe={effort}" for effort in EFFORTS]
    return faiss_points(f"IVF{num_lists(vectors)},Flat", vectors, settings)


def ivf_codes(vectors: np.ndarray, work: pathlib.Path) -> list[Point]:
    """4-bit codes with exact scores for the best hundred, as ScaNN does."""
    factory = f"IVF{num_lists(vectors)},PQ{DIM // 2}x4fs,RFlat"
    settings = [f"nprobe={effort},k_factor_rf=20" for effort in EFFORTS]
    return faiss_points(factory, vectors, settings)


def hnsw(vectors: np.ndarray, work: pathlib.Path) -> list[Point]:
    settings = [f"efSearch={4 * effort}" for effort in EFFORTS]
    return faiss_points("HNSW32,Flat", vectors, settings)


def num_lists(vectors: np.ndarray) -> int:
    """The square root, as many as ScannSearcher has leaves."""
    return max(1, round(len(vectors) ** 0.5))


def faiss_points(
    factory: str, vectors: np.ndarray, settings: list[str]
) -> list[Point]:
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))  # to build
    index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    space = faiss.ParameterSpace()
    return [
        Point(
            f"Faiss {factory}",
            setting,
            prepare=functools.partial(
                space.set_index_parameters, index, setting
            ),
            search=lambda queries: index.search(queries, K)[1],
        )
        for setting in settings
    ]


def time_points(
    points: list[Point], queries: np.ndarray, num_turns: int
) -> None:
    """Fills in the recall and the rate of each point."""
    exact = points[0].search(queries)
    works = {}
    for number, point in enumerate(points):
        point.prepare()
        found = point.search(queries)
        hits = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
        point.recall = sum(hits) / exact.size
        part = queries[: point.num_queries]
        works[str(number)] = functools.partial(one_by_one, point, part)
    seconds = timing.in_turns(works, num_turns)
    for point, spent in zip(points, seconds.values(), strict=True):
        point.rate = len(queries[: point.num_queries]) / spent


def one_by_one(point: Point, queries: np.ndarray) -> None:
    point.prepare()
    for row in range(len(queries)):
        point.search(queries[row : row + 1])


def at_equal_recall(points: list[Point]) -> list[dict[str, Any]]:
    """ScannSearcher against the fastest of Faiss, interpolated."""
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.searcher, []).append(point)
    rows = []
    for recall in RECALLS:
        rates = {
            name: rate_at(recall, curve)
            for name, curve in curves.items()
            if len(curve) > 1
        }
        ours = rates.pop("ScannSearcher")
        best = max(rates, key=rates.__getitem__)
        if ours and rates[best]:
            rows.append(
                {
                    f"recall@{K}": recall,
                    "ours, queries/s": ours,
                    "peer, queries/s": rates[best],
                    "ratio": ours / rates[best],
                    "peer": best,
                }
            )
    return rows


def rate_at(recall: float, curve: list[Point]) -> float:
    """Queries a second at a recall; 0 if no setting reaches it."""
    curve = sorted(curve, key=lambda point: point.recall)
    if curve[-1].recall < recall:
        return 0.0
    recalls = [point.recall for point in curve]
    rates = [np.log(point.rate) for point in curve]
    return float(np.exp(np.interp(recall, recalls, rates)))
