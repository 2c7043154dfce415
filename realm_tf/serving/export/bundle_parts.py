"""Vocabulary, corpus and index beside the models."""

import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realm_tf import _files, _manifest
from realm_tf._files import writer_lock
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import FolderError
from realm_tf.retrieval.index import index_loader, index_versions

if TYPE_CHECKING:
    from realm_tf.data.text.featurizer import Featurizer
    from realm_tf.retrieval.index.block_index import BlockIndex

INDEX_NAME = "index"


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
    """Copies a corpus, unless it is there; returns the name of its folder."""
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
            return name
        if Corpus.open(target, verify=False).fingerprint == corpus.fingerprint:
            return name
    raise AssertionError  # names do not end


def check_updates(folder: pathlib.Path, index: "BlockIndex") -> None:
    """Checks that `copy_index` would lose no documents.

    Raises:
        FolderError: if documents that were added in the bundle would be lost.
    """
    root = folder / INDEX_NAME
    versions = index_versions.list_versions(root)
    if versions:
        _is_version(root, versions[-1], index)


def copy_index(folder: pathlib.Path, index: "BlockIndex") -> str:
    """Makes an index version the newest of the bundle, unless it is.

    Documents that were added to the index come with it; those that were added
    to the same version in the bundle stay.

    Returns:
        name of the index folder.

    Raises:
        FolderError: if documents that were added in the bundle would be lost.
    """
    root = folder / INDEX_NAME
    with writer_lock(root):
        versions = index_versions.list_versions(root)
        if versions and _is_version(root, versions[-1], index):
            return INDEX_NAME
        index_versions.copy_version(index.path, index.version, root)
    return INDEX_NAME


def _is_version(root: pathlib.Path, version: int, index: "BlockIndex") -> bool:
    """Whether a version of the bundle is `index`, with all its updates."""
    folder = index_versions.version_folder(root, version)
    manifest = index_loader.read_description(folder, verify=False)
    if manifest.fingerprint != index.fingerprint:
        index_loader.refuse_to_lose_updates(root, index.corpus)
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


def _names(stem: str, suffix: str) -> Iterator[str]:
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}-{number}{suffix}"
        number += 1
