"""BlockIndex: the index folder. Embeddings, searcher and blocks together."""

import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realm_tf import _manifest
from realm_tf._manifest import MismatchError
from realm_tf.retrieval import index_versions
from realm_tf.retrieval.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.embedding_matrix import (
    CHUNK_ROWS,
    EmbeddingMatrix,
    EmbeddingWriter,
)
from realm_tf.retrieval.searcher import Searcher, SearchResult
from realm_tf.retrieval.writer_lock import writer_lock

if TYPE_CHECKING:
    from realm_tf.data.blocks import Block
    from realm_tf.data.corpus import Corpus

logger = logging.getLogger(__name__)

_KIND = "index"
_EXCLUDED_NAME = "excluded_block_ids.npy"
_KEEP_VERSIONS = 3
EmbeddingChunks = Iterable[npt.ArrayLike] | npt.NDArray[Any]


class BlockIndex:
    """One version of an index, opened.

    Made by `BlockIndex.build` and `BlockIndex.open`.

    Folder:
        index/v000001/manifest.json, embeddings-*.npy, excluded_block_ids.npy,
        scann/ (if it was built with ScaNN).
    """

    def __init__(
        self,
        path: pathlib.Path,
        version: int,
        manifest: _manifest.Manifest,
        corpus: "Corpus",
        searcher: Searcher,
    ):
        self.path = path
        self.version = version
        self.manifest = manifest
        self.corpus = corpus
        self._searcher = searcher
        self._excluded = np.load(
            self.folder / _EXCLUDED_NAME, allow_pickle=False
        )

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        corpus: "Corpus",
        embeddings: EmbeddingChunks,
        *,
        embedder_fingerprint: str,
        dtype: str = "float32",
        skip_bad: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> "BlockIndex":
        """Builds the next version of an index."""
        path = pathlib.Path(path)
        with writer_lock(path):
            index_versions.remove_leftovers(path)
            version = index_versions.next_version(path)
            folder = index_versions.version_folder(path, version)
            with _manifest.write_folder(folder, _KIND) as writer:
                matrix, excluded = _write_embeddings(
                    writer.path,
                    corpus.num_blocks,
                    embeddings,
                    dtype=dtype,
                    skip_bad=skip_bad,
                    progress=progress,
                )
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
                    options={
                        "dtype": dtype,
                        "max_norm": matrix.max_norm,
                        "searcher": "brute_force",
                    },
                )
            index_versions.prune(path, _KEEP_VERSIONS)
        return cls.open(path, corpus, version=version, verify=False)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        corpus: "Corpus",
        *,
        embedder_fingerprint: str | None = None,
        version: int | None = None,
        verify: bool = True,
        allow_mismatch: bool = False,
    ) -> "BlockIndex":
        """Opens a version of an index."""
        path = pathlib.Path(path)
        version = index_versions.find_version(path, version)
        folder = index_versions.version_folder(path, version)
        manifest = _manifest.read_manifest(folder, _KIND, verify=verify)
        matrix = EmbeddingMatrix.open(
            folder,
            num_rows=manifest.counts["num_blocks"],
            dim=manifest.counts["embedding_dim"],
            dtype=manifest.options["dtype"],
            max_norm=manifest.options["max_norm"],
        )
        return cls(path, version, manifest, corpus, BruteForceSearcher(matrix))

    @property
    def folder(self) -> pathlib.Path:
        """Folder of this version."""
        return index_versions.version_folder(self.path, self.version)

    @property
    def num_blocks(self) -> int:
        return self._searcher.num_blocks

    @property
    def embedding_dim(self) -> int:
        return self._searcher.embedding_dim

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def embedder_fingerprint(self) -> str:
        return self.manifest.fingerprints["embedder"]

    def search(self, queries: npt.ArrayLike, k: int) -> SearchResult:
        return self._searcher.search(queries, k, excluded=self._excluded)

    def blocks(self, block_ids: Sequence[int]) -> list["Block"]:
        return self.corpus.blocks(block_ids)

    def embeddings(
        self, block_ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        return self._searcher.embeddings.rows(block_ids)


def _write_embeddings(
    folder: pathlib.Path,
    num_blocks: int,
    embeddings: EmbeddingChunks,
    *,
    dtype: str,
    skip_bad: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[EmbeddingMatrix, npt.NDArray[np.int64]]:
    with EmbeddingWriter(
        folder, num_blocks, dtype=dtype, skip_bad=skip_bad
    ) as writer:
        for chunk in _chunks(embeddings):
            writer.write(chunk)
            if progress is not None:
                progress(writer.rows_written, num_blocks)
        matrix = writer.finish()
    excluded = np.array(writer.bad_rows, np.int64)
    np.save(folder / _EXCLUDED_NAME, excluded, allow_pickle=False)
    return matrix, excluded


def _chunks(embeddings: EmbeddingChunks) -> Iterable[npt.ArrayLike]:
    if not isinstance(embeddings, np.ndarray):
        return embeddings
    starts = range(0, max(len(embeddings), 1), CHUNK_ROWS)
    return (embeddings[start : start + CHUNK_ROWS] for start in starts)
