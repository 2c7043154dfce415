"""Reads the folder of one index version."""

import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realm_tf import _manifest
from realm_tf._files import OpenFile, open_npy
from realm_tf._manifest import Manifest, OpenFolder
from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.index_builder import (
    EXCLUDED_NAME,
    LEXICAL,
    SCANN_NAME,
)
from realm_tf.retrieval.index.index_versions import KIND
from realm_tf.retrieval.index.lexical_index import LexicalIndex
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.lexical_searcher import LexicalSearcher
from realm_tf.retrieval.searchers.scann_searcher import ScannSearcher
from realm_tf.retrieval.searchers.searcher import Searcher

if TYPE_CHECKING:
    from realm_tf.data.corpus.corpus import Corpus


def read_description(folder: pathlib.Path, *, verify: bool) -> Manifest:
    """Reads the manifest of a version; see `open_version`."""
    return open_version(folder, verify=verify).manifest


def open_version(folder: pathlib.Path, *, verify: bool) -> OpenFolder:
    """Opens the files of a version; its manifest has all that is needed.

    Raises:
        FolderError: if the version is incomplete or damaged.
    """
    opened = _manifest.open_folder(folder, KIND, verify=verify)
    _check_description(folder, opened.manifest)
    return opened


def _check_description(folder: pathlib.Path, manifest: Manifest) -> None:
    expected: list[tuple[str, dict[str, Any], type]] = [
        ("num_blocks", manifest.counts, int),
        ("embedding_dim", manifest.counts, int),
        ("num_excluded", manifest.counts, int),
        ("corpus", manifest.fingerprints, str),
        ("tokenizer", manifest.fingerprints, str),
        ("embedder", manifest.fingerprints, str),
        ("dtype", manifest.options, str),
        ("searcher", manifest.options, str),
        ("max_norm", manifest.options, float),
    ]
    for name, values, kind in expected:
        if not isinstance(values.get(name), kind):
            raise FolderError(
                f"{folder / _manifest.MANIFEST_NAME} must say `{name}` "
                f"({kind.__name__}). Received: {values.get(name)!r}. Build "
                "the index again."
            )


def check_belongs(
    folder: pathlib.Path,
    manifest: Manifest,
    corpus: "Corpus",
    embedder_fingerprint: str | None,
    allow_mismatch: bool,
) -> bool:
    """Whether a version belongs to the corpus and the embedder.

    Raises:
        MismatchError: if not, unless `allow_mismatch`, which makes it a
            warning where the numbers of blocks agree.
    """
    mismatch = _mismatch(folder, manifest, corpus, embedder_fingerprint)
    if mismatch is None:
        return True
    same_size = manifest.counts["num_blocks"] == corpus.num_blocks
    if not (allow_mismatch and same_size):
        raise MismatchError(mismatch)
    warnings.warn(mismatch, stacklevel=3)
    return False


def _mismatch(
    folder: pathlib.Path,
    manifest: Manifest,
    corpus: "Corpus",
    embedder_fingerprint: str | None,
) -> str | None:
    """What does not belong together, in words; None if all does."""
    pairs = {
        name: (manifest.fingerprints[name], given)
        for name, given in (
            ("corpus", corpus.fingerprint),
            ("tokenizer", corpus.tokenizer_fingerprint),
            ("embedder", embedder_fingerprint),
        )
        if given is not None
    }
    pairs["num_blocks"] = (
        str(manifest.counts["num_blocks"]),
        str(corpus.num_blocks),
    )
    if all(of_index == given for of_index, given in pairs.values()):
        return None
    lines = [
        f"  {name:10}  index={of_index[:16]:16}  given={given[:16]:16}"
        + ("" if of_index == given else "  <- differs")
        for name, (of_index, given) in pairs.items()
    ]
    return "\n".join(
        [
            f"{folder} must be used with the corpus and the embedder it was "
            "built from. Received:",
            *lines,
            "Embed the corpus again with `realm-tf index`, or load the "
            "checkpoint that the index was built with.",
        ]
    )


def open_matrix(folder: OpenFolder) -> EmbeddingMatrix:
    """Memory-maps the embeddings."""
    manifest = folder.manifest
    return EmbeddingMatrix.open(
        folder.path,
        num_rows=manifest.counts["num_blocks"],
        dim=manifest.counts["embedding_dim"],
        dtype=manifest.options["dtype"],
        max_norm=manifest.options["max_norm"],
        files=_Listed(folder),
    )


def open_excluded(folder: OpenFolder) -> npt.NDArray[np.int64]:
    """Reads the ids of blocks whose embeddings were bad, ascending."""
    file = _Listed(folder)[EXCLUDED_NAME]
    shape = (folder.manifest.counts["num_excluded"],)
    return np.array(open_npy(file, "<i8", shape, "Rebuild the index."))


def open_searcher(
    folder: OpenFolder, matrix: EmbeddingMatrix, exact: bool
) -> Searcher:
    """Loads the searcher; brute force if `exact`, or if ScaNN is missing."""
    if exact or folder.manifest.options["searcher"] != "scann":
        return BruteForceSearcher(matrix)
    try:
        searcher = ScannSearcher.load(folder.path / SCANN_NAME, matrix)
    except ImportError as error:
        warnings.warn(
            f"{folder.path} was built with ScaNN; every one of its "
            f"{matrix.num_rows} blocks will be scored in each search. {error}",
            stacklevel=4,
        )
        return BruteForceSearcher(matrix)
    folder.check_in_place()  # ScaNN has read its files by name
    return searcher


def open_lexical(folder: OpenFolder) -> LexicalIndex | None:
    """Loads the lexical part; None if there is none, or no Tantivy."""
    if folder.manifest.options.get(LEXICAL) is None:
        return None
    try:
        searcher = LexicalSearcher.load(folder.path / LEXICAL)
    except ImportError:
        return None
    folder.check_in_place()  # Tantivy has read its files by name
    expected = folder.manifest.counts["num_blocks"]
    if searcher.num_blocks != expected:
        raise FolderError(
            f"{folder.path / LEXICAL} must be the lexical part of this index. "
            f"Expected: {expected} blocks. Received: {searcher.num_blocks} "
            "blocks. Build the index again."
        )
    return LexicalIndex(searcher)


class _Listed(dict[str, OpenFile]):
    """The files of a version; one that its manifest lacks is damage."""

    def __init__(self, folder: OpenFolder):
        super().__init__(folder.files)
        self._folder = folder

    def __missing__(self, name: str) -> OpenFile:
        raise FolderError(
            f"{self._folder.path / _manifest.MANIFEST_NAME} must list {name}. "
            "Received: no such file. Build the index again."
        )


def refuse_to_lose_updates(path: pathlib.Path, corpus: "Corpus") -> None:
    """Raises `FolderError` if the newest version of `corpus` was updated."""
    versions = index_versions.list_versions(path)
    if not versions:
        return
    folder = index_versions.version_folder(path, versions[-1])
    try:
        manifest = read_description(folder, verify=False)
        updates = index_versions.read_updates(
            path, versions[-1], manifest.fingerprint
        )
    except (FolderError, MismatchError):
        return  # what cannot be opened is what a new version replaces
    same_corpus = manifest.fingerprints["corpus"] == corpus.fingerprint
    if same_corpus and updates:
        raise FolderError(
            "A new version must not lose documents that were added to the "
            f"last one. Received: {folder} with updates. Fold them into the "
            "corpus with `BlockIndex.compact`, or choose another path."
        )
