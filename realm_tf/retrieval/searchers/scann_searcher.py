"""ScannSearcher: approximate search with ScaNN, exact scores."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf.errors import FolderError, ScannBuildError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers import scann_builder
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.embedding_writer import EmbeddingWriter
from realm_tf.retrieval.searchers.searcher import (
    Searcher,
    SearchResult,
    best_first,
    exact_scores,
)

_OPTIONS_NAME = "options.json"
_PICKLE_NAME = "scann_docids.pkl"
_ASSETS_NAME = "scann_assets.pbtxt"
_MIN_CANDIDATES = 100
# How much wider a search gets when it found fewer than k blocks.
_WIDENING = 4


class ScannSearcher(Searcher):
    """Finds candidates with ScaNN and scores them exactly.

    Queries are searched one by one on several threads: ScaNN's batched search
    returns other candidates in some batches than in others.

    Made by `ScannSearcher.build` and `ScannSearcher.load`.

    Source: Guo et al., 2020 (arXiv:1908.10396); the ORQA code searches with
    the same tree and hashing, but returns the quantised scores.
    """

    is_exact = False

    def __init__(
        self,
        embeddings: EmbeddingMatrix | npt.NDArray[Any],
        folder: str | os.PathLike[str],
    ):
        super().__init__(embeddings)
        folder = pathlib.Path(folder)
        self.options = _read_options(folder)
        self._scann = _load_scann(folder)
        if self._scann.size() != self.num_blocks:
            raise FolderError(
                f"{folder} must be the ScaNN index of these embeddings. "
                f"Expected: {self.num_blocks} rows. Received: "
                f"{self._scann.size()} rows. Rebuild the index."
            )

    @classmethod
    def build(
        cls,
        embeddings: EmbeddingMatrix | npt.NDArray[Any],
        folder: str | os.PathLike[str],
        options: ScannOptions | None = None,
    ) -> "ScannSearcher":
        """Builds ScaNN's files in `folder`, in a process of its own.

        Args:
            embeddings: `EmbeddingMatrix`, or array of float32 or bfloat16.
            folder: created; must not hold anything.
            options: `ScannOptions`; default: chosen from the number of blocks.

        Raises:
            ImportError: if ScaNN cannot be used here.
            ScannBuildError: if ScaNN failed or its process died.
            ValueError: if `options` do not suit the number of blocks.
        """
        import_scann()
        if not isinstance(embeddings, EmbeddingMatrix):
            embeddings = EmbeddingMatrix.from_array(embeddings)
        options = (options or ScannOptions()).resolve(embeddings.num_rows)
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as temporary:
            if not embeddings.paths:
                embeddings = _on_disk(embeddings, temporary)
            _run_builder(embeddings, folder, options)
        _write_options(folder, options)
        return cls(embeddings, folder)

    def save(self, folder: str | os.PathLike[str]) -> None:
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._scann.serialize(str(folder), relative_path=True)
        _write_options(folder, self.options)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        embeddings: EmbeddingMatrix | npt.NDArray[Any],
    ) -> "ScannSearcher":
        return cls(embeddings, folder)

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        excluded: npt.NDArray[np.int64],
    ) -> SearchResult:
        result = SearchResult.empty(len(queries), k)

        def search_one(row: int) -> None:
            block_ids = self._candidates(queries[row], k, excluded)
            rows = self.embeddings.rows(block_ids)
            scores = exact_scores(queries[row], rows)
            order = best_first(scores, block_ids, k)
            result.scores[row, : len(order)] = scores[order]
            result.block_ids[row, : len(order)] = block_ids[order]

        if len(queries) == 1:
            search_one(0)
        elif len(queries) > 1:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                list(threads.map(search_one, range(len(queries))))
        return result

    def _candidates(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        excluded: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Ids of blocks to score: `k` of them or more, if so many exist."""
        num_leaves = self.options.num_leaves or 1
        leaves = self.options.leaves_to_search or 1
        existing = self.num_blocks - len(excluded)
        count = max(k * self.options.candidates_per_result, _MIN_CANDIDATES)
        while True:
            count = min(count, self.num_blocks)
            found, _ = self._scann.search(query, count, -1, leaves)
            block_ids = np.asarray(found, np.int64)
            block_ids = block_ids[~np.isin(block_ids, excluded)]
            everything = count == self.num_blocks and leaves == num_leaves
            if len(block_ids) >= min(k, existing) or everything:
                return block_ids
            count *= _WIDENING
            leaves = min(leaves * _WIDENING, num_leaves)


def import_scann() -> ModuleType:
    """Returns ScaNN's Python module.

    Raises:
        ImportError: if it is not installed, or cannot run here.
    """
    try:
        if not _processor_has_avx2():
            raise ImportError("this processor has no AVX2, which ScaNN needs")
        from scann.scann_ops.py import scann_ops_pybind
    except Exception as error:  # its C++ library raises errors of many types
        raise ImportError(
            "`ScannSearcher` needs ScaNN. Install it with `pip install "
            "'scann~=1.4.2'` (Linux), or use searcher='brute_force'. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return scann_ops_pybind


def _processor_has_avx2() -> bool:
    """False only where Linux lists the flags of an x86 without AVX2."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return True
    flags = next((line for line in lines if line.startswith("flags")), "avx2")
    return "avx2" in flags.split()


def _load_scann(folder: pathlib.Path) -> Any:
    if (folder / _PICKLE_NAME).exists():
        raise FolderError(
            f"{folder} must not hold {_PICKLE_NAME}: ScaNN would run the code "
            "in it. Received: a folder that realm_tf did not write. Take the "
            "index from a source you trust."
        )
    if not (folder / _ASSETS_NAME).is_file():
        raise FolderError(
            f"{folder} must hold {_ASSETS_NAME}. Received: none. Copy the "
            "index again, or rebuild it."
        )
    scann_ops_pybind = import_scann()
    try:
        return scann_ops_pybind.load_searcher(str(folder))
    except RuntimeError as error:
        raise FolderError(
            f"{folder} must hold an index that ScaNN can read. Received: "
            f"{error}. Copy the index again, or rebuild it."
        ) from error


def _write_options(folder: pathlib.Path, options: ScannOptions) -> None:
    text = json.dumps(dataclasses.asdict(options), indent=1) + "\n"
    (folder / _OPTIONS_NAME).write_text(text, encoding="utf-8")


def _read_options(folder: pathlib.Path) -> ScannOptions:
    path = folder / _OPTIONS_NAME
    try:
        return ScannOptions(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise FolderError(
            f"{path} must hold the options of a ScaNN index. Received: "
            f"{error}. Copy the index again, or rebuild it."
        ) from error


def _on_disk(matrix: EmbeddingMatrix, folder: str) -> EmbeddingMatrix:
    with EmbeddingWriter(folder, matrix.num_rows, skip_bad=True) as writer:
        for _, rows in matrix.chunks():
            writer.write(rows)
        return writer.finish()


def _run_builder(
    matrix: EmbeddingMatrix, folder: pathlib.Path, options: ScannOptions
) -> None:
    request = {
        "shards": [str(path) for path in matrix.paths],
        "num_rows": matrix.num_rows,
        "dim": matrix.dim,
        "folder": str(folder),
        "options": dataclasses.asdict(options),
    }
    done = subprocess.run(
        [sys.executable, scann_builder.__file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        shutil.rmtree(folder)
        ending = (
            f"signal {signal.Signals(-done.returncode).name}"
            if done.returncode < 0
            else f"exit code {done.returncode}"
        )
        raise ScannBuildError(
            f"The process that builds the ScaNN index ended with {ending}, for "
            f"num_blocks={matrix.num_rows}, embedding_dim={matrix.dim}, "
            f"{options}. Its last output: {done.stderr.strip()[-500:]!r}. "
            "Lower `num_leaves`, or use searcher='brute_force'."
        )
