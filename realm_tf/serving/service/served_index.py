"""ServedIndex: the index of a bundle, swapped and updated while it serves."""

import collections
import os
import pathlib
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf._manifest import MANIFEST_NAME, read_manifest
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import (
    FolderError,
    LockedError,
    MismatchError,
    UnknownVersionError,
)
from realm_tf.retrieval.index import index_loader, index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.index_builder import LEXICAL
from realm_tf.serving.export.bundle_parts import new_corpus_path

_EMBEDDERS_KEPT = 2  # while a model server turns from one to the next
_UNUSED_SECONDS = 60.0  # until the index of a former embedder is let go
_RETRY_SECONDS = 60.0  # until a bad version is retried


class ServedIndex:
    """Finds the index version that belongs to the embedder that was used.

    All methods may be called by many threads, and read or write files.

    Args:
        index_path: the index folder.
        corpus_path: the corpus it was built from. Versions of another corpus
            find theirs in the folders beside it.
    """

    def __init__(
        self,
        index_path: str | os.PathLike[str],
        corpus_path: str | os.PathLike[str],
    ):
        self.index_path = pathlib.Path(index_path)
        self.corpus_path = pathlib.Path(corpus_path)
        # By embedder. Whoever acquired one keeps it after a swap: vectors and
        # texts come from one version.
        self._indexes: collections.OrderedDict[str, BlockIndex] = (
            collections.OrderedDict()
        )
        self._last: str | None = None  # embedder asked for last
        self._turned = 0.0  # when another embedder was last asked for
        self._refused = (0, 0.0)  # version, and when to retry it
        self._lock = threading.RLock()  # never held by those who only search

    @property
    def in_use(self) -> BlockIndex | None:
        """The newest index of the embedder asked for last; does not wait."""
        return self._indexes.get(self._last) if self._last else None

    def acquire(self, fingerprint: str) -> BlockIndex:
        """Returns the newest index of an embedder; keep it for a request.

        Raises:
            MismatchError: if no version belongs to the embedder.
            FolderError: if the one that does is damaged.
        """
        index = self._indexes.get(fingerprint)
        if index is None:
            with self._lock:
                index = self._indexes.get(fingerprint)
                if index is None:
                    index = self._open(fingerprint)
                    self._indexes[fingerprint] = index
                self._turn(fingerprint)
                while len(self._indexes) > _EMBEDDERS_KEPT:
                    self._indexes.popitem(last=False)
        self._turn(fingerprint)
        return index

    def _turn(self, fingerprint: str) -> None:
        if fingerprint != self._last:
            self._last, self._turned = fingerprint, time.monotonic()

    def refresh(self, *, retry: bool = True) -> bool:
        """Swaps to the newest version, if it is newer than that in use.

        Lets go of the index of an embedder that is no longer asked for.

        Args:
            retry: look at once at a version that was refused before.

        Returns:
            Whether there was a newer one.

        Raises:
            FolderError: if the newest version is damaged; the old one stays.
            MismatchError: if it belongs to another embedder or corpus; the
                old one stays.
        """
        with self._lock:
            index = self.in_use
            if index is None:
                return False
            fingerprint = index.embedder_fingerprint
            if time.monotonic() - self._turned >= _UNUSED_SECONDS:
                for other in set(self._indexes) - {fingerprint}:
                    del self._indexes[other]
            newest = index_versions.find_version(self.index_path, None)
            refused, until = self._refused
            is_old = newest == refused and time.monotonic() < until
            if newest <= index.version or (is_old and not retry):
                return False
            self._refused = (newest, time.monotonic() + _RETRY_SECONDS)
            self._indexes[fingerprint] = BlockIndex.open(
                self.index_path,
                self._check(newest, fingerprint, index.corpus),
                version=newest,
                embedder_fingerprint=fingerprint,
            )
            return True

    def roll_back(self, version: int) -> BlockIndex:
        """Makes an older version the newest one, and swaps to it.

        Raises:
            UnknownVersionError: if there is no such version.
            FolderError: if it is damaged.
            MismatchError: if it belongs to another embedder.
            LockedError: if another process is writing the index.
        """
        with self._lock:
            index = self._require()
            try:
                index_versions.find_version(self.index_path, version)
            except FolderError as error:
                raise UnknownVersionError(str(error)) from error
            fingerprint = index.embedder_fingerprint
            self._check(version, fingerprint, index.corpus, verify=True)
            BlockIndex.roll_back(self.index_path, version)
            self.refresh()
            return self._require()

    def add(
        self,
        blocks: Sequence[Block],
        embeddings: npt.NDArray[np.float32],
        fingerprint: str,
    ) -> BlockIndex:
        """Adds or replaces documents; see `BlockIndex.add`.

        Args:
            blocks: all blocks of the documents.
            embeddings: of these blocks.
            fingerprint: of the embedder that made them.

        Returns:
            The index that holds them.
        """
        return self._update(
            lambda: self.acquire(fingerprint),
            lambda index: index.add(blocks, embeddings),
        )

    def delete(self, document_ids: Iterable[str]) -> BlockIndex:
        """Deletes documents; see `BlockIndex.delete`."""
        ids = list(document_ids)
        return self._update(self._require, lambda index: index.delete(ids))

    def compact(self, featurizer: Featurizer) -> None:
        """Folds the updates into a new corpus and version, and swaps to it.

        Searches continue meanwhile; the caller keeps other updates back.

        Args:
            featurizer: has the tokenizer of the corpus.

        Raises:
            MismatchError: if it has another.
            LockedError: if another process is writing the index.
        """
        self.refresh()
        path = new_corpus_path(self.corpus_path.parent)
        self._require().compact(path, featurizer)
        self.refresh()

    def place(self) -> dict[str, int]:
        """Version and updates that searches see; reads no file."""
        index = self.in_use
        return {
            "index_version": index.version if index else 0,
            "num_updates": index.num_updates if index else 0,
        }

    def status(self) -> dict[str, Any]:
        """Version, age, counts and identity of the index in use."""
        index = self._require()
        options = index.manifest.options
        return {
            "version": index.version,
            "versions": index_versions.list_versions(self.index_path),
            "age_seconds": self.age(index),
            "corpus": index.corpus.path.name,
            "num_blocks": index.num_blocks,
            "num_updates": index.num_updates,
            "num_blocks_of_corpus": index.corpus.num_blocks,
            "embedding_dim": index.embedding_dim,
            "searcher": options["searcher"],
            "searcher_recall": options.get("searcher_recall"),
            "analyzer": index.analyzer,
            "fingerprint": index.fingerprint,
            "embedder_fingerprint": index.embedder_fingerprint,
        }

    @staticmethod
    def age(index: BlockIndex) -> float:
        """Seconds since the version was written; 0.0 if it is gone."""
        try:
            written = (index.folder / MANIFEST_NAME).stat().st_mtime
        except OSError:
            return 0.0
        return max(0.0, time.time() - written)

    def _require(self) -> BlockIndex:
        index = self.in_use
        if index is None:
            raise FolderError(
                f"An index must be in use. Received: none of {self.index_path} "
                "was opened yet. Wait until the service is ready."
            )
        return index

    def _update(self, choose: Any, change: Any) -> BlockIndex:
        with self._lock:
            index = choose()
            try:
                change(index)
            except LockedError:
                # A new version may have come since the last look.
                if not self.refresh():
                    raise
                index = choose()
                change(index)
            return index

    def _check(
        self,
        version: int,
        fingerprint: str,
        known: Corpus | None,
        *,
        verify: bool = False,
    ) -> Corpus:
        """Corpus of a version that belongs to an embedder; else raises."""
        folder = index_versions.version_folder(self.index_path, version)
        manifest = index_loader.read_description(folder, verify=verify)
        corpus = self._corpus_of(version, known)
        in_use = self.in_use
        if in_use and in_use.has_words and not manifest.options.get(LEXICAL):
            raise MismatchError(
                "A version in place of one with words must have words. "
                f"Received: {folder} without. Build the index again."
            )
        index_loader.check_belongs(folder, manifest, corpus, fingerprint, False)
        return corpus

    def _open(self, fingerprint: str) -> BlockIndex:
        versions = index_versions.list_versions(self.index_path)
        newest = index_versions.find_version(self.index_path, None)
        for version in reversed(versions):
            folder = index_versions.version_folder(self.index_path, version)
            manifest = index_loader.read_description(folder, verify=False)
            if manifest.fingerprints["embedder"] == fingerprint:
                newest = version
                break
        return BlockIndex.open(
            self.index_path,
            self._check(newest, fingerprint, None),  # before the hashes
            version=newest,
            embedder_fingerprint=fingerprint,
        )

    def _corpus_of(self, version: int, known: Corpus | None) -> Corpus:
        """The corpus of a version: the one that is open, or one beside it."""
        folder = index_versions.version_folder(self.index_path, version)
        manifest = index_loader.read_description(folder, verify=False)
        wanted = manifest.fingerprints["corpus"]
        if known is not None and known.fingerprint == wanted:
            return known
        beside = sorted(self.corpus_path.parent.glob(f"*/{MANIFEST_NAME}"))
        for path in (self.corpus_path, *(file.parent for file in beside)):
            try:
                found = read_manifest(path, "corpus", verify=False)
            except FolderError:
                continue
            if found.fingerprint == wanted:
                return Corpus.open(path)
        raise MismatchError(
            f"{folder} must have its corpus in {self.corpus_path.parent}. "
            f"Received: no corpus with the fingerprint {wanted[:16]}. Copy "
            "the corpus that it was built from there."
        )
