"""Vocabulary, corpus and index beside the models."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realm_tf import _files, _manifest
from realm_tf._files import writer_lock
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index import index_loader, index_versions
from realm_tf.retrieval.index.block_updates import embed_again

if TYPE_CHECKING:
    from realm_tf.data.text.featurizer import Featurizer
    from realm_tf.retrieval.index.block_index import BlockIndex

INDEX_NAME = "index"
_LOCK_SECONDS = 60.0  # a service that adds documents takes less

Embed = Callable[[list[Block]], npt.NDArray[np.float32]]


def write_vocabulary(folder: pathlib.Path, featurizer: "Featurizer") -> str:
    """Writes the wordpieces; returns the name of the file.

    A file that readers may have open is never changed: another vocabulary
    gets another name.
    """
    text = "\n".join(featurizer.vocabulary) + "\n"
    for name in _names("vocabulary", ".txt"):
        file = folder / name
        if not file.exists():
            _files.replace_file(file, text)
            return name
        if file.is_file() and file.read_bytes() == text.encode():
            return name
    raise AssertionError  # names do not end


def copy_corpus(folder: pathlib.Path, corpus: Corpus) -> str:
    """Copies a corpus, unless it is there; returns the name of its folder.

    Raises:
        FolderError: if the corpus was damaged or replaced on the disk.
    """
    for name in _names("corpus", ""):
        target = folder / name
        if not target.exists():
            with _manifest.write_folder(target, "corpus") as writer:
                for file in corpus.manifest.files:
                    index_versions.link_or_copy(
                        corpus.path / file, writer.path / file
                    )
                writer.describe(
                    counts=corpus.manifest.counts,
                    fingerprints=corpus.manifest.fingerprints,
                    options=corpus.manifest.options,
                )
                # Or damage would get a checksum of its own.
                if writer.finish().fingerprint != corpus.fingerprint:
                    raise FolderError(
                        f"{corpus.path} must hold the corpus that is open. "
                        "Received: other files. Copy the folder again, or "
                        "rebuild it."
                    )
            return name
        if Corpus.open(target, verify=False).fingerprint == corpus.fingerprint:
            return name
    raise AssertionError  # names do not end


def new_corpus_path(folder: pathlib.Path) -> pathlib.Path:
    """Where the next corpus of a bundle goes."""
    paths = (folder / name for name in _names("corpus", ""))
    return next(path for path in paths if not path.exists())


def check_updates(folder: pathlib.Path, index: "BlockIndex") -> None:
    """Checks that `copy_index` would lose no documents.

    Raises:
        FolderError: if documents that were added in the bundle would be lost.
    """
    root = folder / INDEX_NAME
    versions = index_versions.list_versions(root)
    if versions:
        _is_version(root, versions[-1], index)


def copy_index(folder: pathlib.Path, index: "BlockIndex", embed: Embed) -> str:
    """Makes an index version the newest of the bundle, unless it is.

    Documents that were added to the index come with it. So do those that were
    added to the same corpus in the bundle, by a service perhaps.

    Args:
        folder: the bundle.
        index: `BlockIndex`.
        embed: its block embedder: blocks -> embeddings.

    Returns:
        name of the index folder.

    Raises:
        FolderError: if documents that were added in the bundle would be lost.
        LockedError: if another process writes the index for too long.
    """
    root = folder / INDEX_NAME
    updates = _Updates(root, index, embed)
    updates.read()  # embeds most, while others may still add documents
    with writer_lock(root, timeout=_LOCK_SECONDS):
        versions = index_versions.list_versions(root)
        if versions and _is_version(root, versions[-1], index):
            return INDEX_NAME
        index_versions.copy_version(
            index.path, index.version, root, updates.read()
        )
    return INDEX_NAME


class _Updates:
    """Updates of the newest version of a bundle, embedded for another index."""

    def __init__(self, root: pathlib.Path, index: "BlockIndex", embed: Embed):
        self._root = root
        self._index = index
        self._embed = functools.cache(
            functools.partial(
                embed_again, dtype=index.manifest.options["dtype"], embed=embed
            )
        )

    def read(self) -> list[bytes]:
        """Records of the journal; each is embedded once."""
        try:
            version = index_versions.find_version(self._root, None)
            folder = index_versions.version_folder(self._root, version)
            manifest = index_loader.read_description(folder, verify=False)
            if (
                manifest.fingerprint == self._index.fingerprint
                or manifest.fingerprints["corpus"]
                != self._index.corpus.fingerprint
            ):
                return []
            records = index_versions.read_updates(
                self._root, version, manifest.fingerprint
            )
        except (FolderError, MismatchError):
            return []  # what cannot be opened is what a new version replaces
        dim = manifest.counts["embedding_dim"]
        return [self._embed(record, dim) for record in records]


def _is_version(root: pathlib.Path, version: int, index: "BlockIndex") -> bool:
    """Whether a version of the bundle is `index`, with all its updates."""
    folder = index_versions.version_folder(root, version)
    manifest = index_loader.read_description(folder, verify=False)
    if manifest.fingerprint != index.fingerprint:
        _refuse_to_lose_folded(root, manifest, index.corpus)
        return False
    # Journals only grow.
    here = index_versions.read_updates(root, version, index.fingerprint)
    there = index_versions.read_updates(
        index.path, index.version, index.fingerprint
    )
    common = min(len(here), len(there))
    if here[:common] != there[:common]:
        raise FolderError(
            "An export must not lose documents that were added to the bundle. "
            f"Received: {folder} and {index.folder}, each updated in its own "
            "way. Fold the bundle's updates into its corpus with `realm-tf "
            "index compact`, or choose another folder."
        )
    return len(here) >= len(there)


def _refuse_to_lose_folded(
    root: pathlib.Path, newest: _manifest.Manifest, corpus: Corpus
) -> None:
    """Raises `FolderError` if the bundle had `corpus` before, and left it."""
    wanted = newest.fingerprints["corpus"]
    if corpus.fingerprint == wanted:
        return
    former = set()
    for version in index_versions.list_versions(root)[:-1]:
        with contextlib.suppress(FolderError):
            path = index_versions.version_folder(root, version)
            manifest = index_loader.read_description(path, verify=False)
            former.add(manifest.fingerprints["corpus"])
    if corpus.fingerprint in former:
        raise FolderError(
            "An export must not lose documents that were folded into the "
            f"corpus of the bundle. Received: an index of {corpus.path}; the "
            f"newest in {root} is of {_corpus_name(root.parent, wanted)}. "
            "Export with that corpus, or roll the bundle back with `realm-tf "
            "index rollback`."
        )


def _corpus_name(folder: pathlib.Path, fingerprint: str) -> str:
    for path in sorted(folder.glob("corpus*")):
        with contextlib.suppress(FolderError):
            manifest = _manifest.read_manifest(path, "corpus", verify=False)
            if manifest.fingerprint == fingerprint:
                return str(path)
    return f"a corpus with the fingerprint {fingerprint[:16]}"


def _names(stem: str, suffix: str) -> Iterator[str]:
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}-{number}{suffix}"
        number += 1
