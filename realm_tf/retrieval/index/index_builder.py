"""Writes the folder of one index version."""

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realm_tf._constants import SEARCHERS
from realm_tf._manifest import FolderWriter
from realm_tf._progress import Progress, no_progress
from realm_tf.errors import RecallError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index.index_plan import IndexPlan
from realm_tf.retrieval.index.lexical_index import searched_text
from realm_tf.retrieval.searchers.analyzer import Analyzer
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import (
    CHUNK_ROWS,
    EmbeddingMatrix,
)
from realm_tf.retrieval.searchers.embedding_writer import EmbeddingWriter
from realm_tf.retrieval.searchers.lexical_searcher import LexicalSearcher
from realm_tf.retrieval.searchers.scann_searcher import (
    ScannSearcher,
    import_scann,
)
from realm_tf.retrieval.searchers.searcher_recall import (
    sample_queries,
    searcher_recall_at_k,
)

if TYPE_CHECKING:
    from realm_tf.data.corpus.corpus import Corpus

TRAINING_STEP = "training_step"
EXCLUDED_NAME = "excluded_block_ids.npy"
SCANN_NAME = "scann"
LEXICAL = "lexical"
"""Folder of the lexical part, and the key of its analyzer in the manifest."""

EmbeddingChunks = Iterable[npt.ArrayLike] | npt.NDArray[Any]

# Below this, scoring everything takes a few milliseconds and is exact.
MIN_BLOCKS_FOR_SCANN = 50_000
# The reader sees 5 blocks, a pre-training step 8, an ORQA label up to 5000.
_RECALL_KS = (5, 20, 100)
_FLOOR_K = 20
_NUM_SAMPLED_QUERIES = 256


def write_version(
    writer: FolderWriter,
    corpus: "Corpus",
    embeddings: EmbeddingChunks,
    *,
    embedder_fingerprint: str,
    searcher: str,
    dtype: str,
    analyzer: str | None,
    scann: ScannOptions | None,
    recall_floor: float,
    skip_bad: bool,
    probe_queries: npt.ArrayLike | None = None,
    training_step: int | None = None,
    attachments: Mapping[str, bytes] | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Fills the folder of `writer`; see `BlockIndex.build`."""
    kind = choose_searcher(searcher, corpus.num_blocks)
    analyzer = _usable(analyzer)
    plan = functools.partial(
        IndexPlan,
        corpus.num_blocks,
        searcher=kind,
        dtype=dtype,
        wordpieces=mean_wordpieces(corpus) if analyzer else 0,
        scann=scann or ScannOptions(),
    )
    with EmbeddingWriter(
        writer.path, corpus.num_blocks, dtype=dtype, skip_bad=skip_bad
    ) as rows:
        for chunk in _chunks(embeddings):
            unchecked = not (force or rows.rows_written)
            rows.write(chunk)
            if unchecked and rows.rows_written and rows.dim:
                plan(rows.dim).check(writer.path)
            progress("index", rows.rows_written, corpus.num_blocks, {})
        matrix = rows.finish()
    excluded = np.array(rows.bad_rows, np.int64)
    np.save(writer.path / EXCLUDED_NAME, excluded, allow_pickle=False)
    options: dict[str, Any] = {
        "searcher": kind,
        "dtype": dtype,
        "max_norm": matrix.max_norm,
    }
    if kind == "scann":
        options["scann"], options["searcher_recall"] = _build_scann(
            writer.path / SCANN_NAME,
            matrix,
            excluded,
            scann or ScannOptions(),
            recall_floor,
            probe_queries,
        )
    if analyzer is not None:
        LexicalSearcher.build(
            map(searched_text, corpus), writer.path / LEXICAL, analyzer
        )
        options[LEXICAL] = analyzer
    if training_step is not None:
        options[TRAINING_STEP] = training_step
    for name, content in (attachments or {}).items():
        (writer.path / name).write_bytes(content)
    writer.describe(
        counts={
            "num_blocks": matrix.num_rows,
            "embedding_dim": matrix.dim,
            "num_excluded": len(excluded),
        },
        fingerprints={
            "corpus": corpus.fingerprint,
            "tokenizer": corpus.tokenizer_fingerprint,
            "embedder": embedder_fingerprint,
        },
        options=options,
    )


def mean_wordpieces(corpus: "Corpus") -> float:
    """Mean number of wordpieces of a block."""
    return corpus.num_wordpieces / max(corpus.num_blocks, 1)


def choose_searcher(searcher: str, num_blocks: int) -> str:
    """The searcher of an index, "brute_force" or "scann", for "auto"."""
    if searcher not in SEARCHERS:
        raise ValueError(
            f"`searcher` must be one of {SEARCHERS}. Received: "
            f"searcher={searcher!r}."
        )
    if searcher == "scann":
        import_scann()  # fail now rather than when everything is embedded
    if searcher != "auto":
        return searcher
    if num_blocks < MIN_BLOCKS_FOR_SCANN:
        return "brute_force"
    try:
        import_scann()
    except ImportError as error:
        warnings.warn(
            f"Every one of {num_blocks} blocks will be scored in each search. "
            f"{error}",
            stacklevel=2,
        )
        return "brute_force"
    return "scann"


def _usable(analyzer: str | None) -> str | None:
    """The analyzer; None without Tantivy. An unknown one is refused now."""
    if analyzer is not None:
        try:
            Analyzer(analyzer)
        except ImportError as error:
            message = f"The index gets no lexical part. {error}"
            warnings.warn(message, stacklevel=2)
            return None
    return analyzer


def _chunks(embeddings: EmbeddingChunks) -> Iterable[npt.ArrayLike]:
    if not isinstance(embeddings, np.ndarray):
        return embeddings
    starts = range(0, max(len(embeddings), 1), CHUNK_ROWS)
    return (embeddings[start : start + CHUNK_ROWS] for start in starts)


def _build_scann(
    folder: pathlib.Path,
    matrix: EmbeddingMatrix,
    excluded: npt.NDArray[np.int64],
    options: ScannOptions,
    recall_floor: float,
    probe_queries: npt.ArrayLike | None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Builds the ScaNN files; returns its options and measured recall."""
    searcher = ScannSearcher.build(matrix, folder, options)
    if probe_queries is None:
        probe_queries = sample_queries(matrix, _NUM_SAMPLED_QUERIES)
    widest = max(_RECALL_KS)
    found = searcher.search(probe_queries, widest, excluded=excluded)
    exact = BruteForceSearcher(matrix).search(
        probe_queries, widest, excluded=excluded
    )
    recall = {
        f"at_{k}": round(searcher_recall_at_k(found, exact, k), 4)
        for k in _RECALL_KS
    }
    if recall[f"at_{_FLOOR_K}"] < recall_floor:
        raise RecallError(
            f"`searcher_recall_at_k` for k={_FLOOR_K} must reach "
            f"recall_floor={recall_floor}. Received: {recall} with "
            f"{searcher.options}. Raise `leaves_to_search` or "
            "`candidates_per_result` of `ScannOptions`, or lower the floor."
        )
    return dataclasses.asdict(searcher.options), recall
