"""The folder through which a trainer and its refreshers meet.

EXCHANGE/
  model/                     preset: what the embedders are made of
  corpus.json                where the corpus is, and its fingerprint
  snapshots/step-000000500/  weights of the embedders at a step
  parts/step-000000500-.../  what several refreshers have embedded of it
  index/v000001/ ...         index versions, each with its query embedder
  done                       written when the training has ended
"""

import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from realm_tf._files import TEMPORARY_MARK, replace_file
from realm_tf._manifest import MANIFEST_NAME, read_manifest, write_folder
from realm_tf.checkpoints.files.npz_file import read_npz
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import FolderError, MismatchError
from realm_tf.layers.embedder import Embedder
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.index_builder import TRAINING_STEP

logger = logging.getLogger(__name__)

KIND = "snapshot"
QUERY_NAME = "query_embedder.npz"
BLOCK_NAME = "block_embedder.npz"
_KEEP = 2  # snapshots; a refresher may be reading the one before
_NAME = re.compile(r"step-(\d{9,})")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # `Path` drops the second "/"


class Exchange:
    """Paths and files of such a folder. Everything appears whole or not at all.

    Args:
        path: the folder; created when something is written.

    Raises:
        ValueError: if `path` is a URL.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if _URL.match(os.fspath(path)):
            raise ValueError(
                "`path` must be a folder of this machine. Received: "
                f"{path}. A bucket needs a `BucketExchange`."
            )
        self.path = pathlib.Path(path)
        self.model = self.path / "model"
        self.index = self.path / "index"
        self._snapshots = self.path / "snapshots"
        self._corpus = self.path / "corpus.json"
        self._done = self.path / "done"

    def begin(self, qa: QuestionAnswerer, corpus: Corpus) -> None:
        """Writes the settings of the refresher, once.

        Raises:
            MismatchError: if the folder is of another corpus.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._done.unlink(missing_ok=True)
        description = {
            "path": str(corpus.path.resolve()),
            "fingerprint": corpus.fingerprint,
        }
        if self._corpus.exists():
            found = self._described_corpus()["fingerprint"]
            if found != corpus.fingerprint:
                raise MismatchError(
                    "`corpus` must be the one that the training began with. "
                    f"Received: fingerprint={corpus.fingerprint[:16]}, in "
                    f"{self.path}={found[:16]}. Choose another output."
                )
        if not self.model.is_dir():
            qa.save_to_preset(self.model)
        replace_file(self._corpus, json.dumps(description))

    def end(self) -> None:
        """Tells refreshers that the training has ended."""
        self._done.touch()

    @property
    def is_done(self) -> bool:
        """Whether the training has ended."""
        return self._done.exists()

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called by the trainer."""
        return self._corpus.exists()

    def open_corpus(self, path: str | os.PathLike[str] | None = None) -> Corpus:
        """The corpus of the training.

        Args:
            path: where it is on this machine; default: where the trainer has
                it.

        Raises:
            MismatchError: if it is another one.
        """
        described = self._described_corpus()
        corpus = Corpus.open(path or described["path"], verify=False)
        if corpus.fingerprint != described["fingerprint"]:
            raise MismatchError(
                "The corpus must be the one of the training. Received: "
                f"{corpus.path}, fingerprint={corpus.fingerprint[:16]}, wanted "
                f"{described['fingerprint'][:16]}. Name a copy of it with "
                "--corpus."
            )
        return corpus

    def write_snapshot(
        self,
        step: int,
        query_embedder: Embedder,
        block_embedder: Embedder,
        needed: Collection[int] = (),
    ) -> None:
        """Writes the weights of the embedders at a step.

        Args:
            step: steps that are done.
            query_embedder: `Embedder`.
            block_embedder: the same; the same object if the two are shared.
            needed: steps whose snapshots stay, beside the newest two.
        """
        for leftover in self._snapshots.glob(f".step-*{TEMPORARY_MARK}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = self.snapshot_folder(step)
        if self.snapshot_identity(step) is None:
            shutil.rmtree(folder, ignore_errors=True)  # damaged, if anything
        with write_folder(folder, KIND, overwrite=True) as writer:
            save_weights(writer.path / QUERY_NAME, query_embedder)
            if block_embedder is not query_embedder:
                save_weights(writer.path / BLOCK_NAME, block_embedder)
            writer.describe(counts={"step": step})
        for old in set(self._steps()[:-_KEEP]).difference(needed):
            shutil.rmtree(self.snapshot_folder(old), ignore_errors=True)

    def forget_after(self, step: int) -> None:
        """Removes snapshots of steps that will be repeated."""
        for later in self._steps():
            if later > step:
                shutil.rmtree(self.snapshot_folder(later), ignore_errors=True)

    def newest_snapshot(self) -> int | None:
        """Step of the newest snapshot; None before the first."""
        steps = self._steps()
        return steps[-1] if steps else None

    def snapshot_identity(self, step: int) -> str | None:
        """SHA-256 of the weights of a snapshot; None if it is not there."""
        try:
            manifest = json.loads(self._snapshot_manifest(step))
            return manifest["files"][QUERY_NAME]["sha256"]
        except (OSError, ValueError, KeyError):
            return None

    def read_snapshot(
        self, step: int, query_embedder: Embedder, block_embedder: Embedder
    ) -> pathlib.Path:
        """Reads the weights of a step into embedders.

        Returns:
            The file with the weights of the query embedder.

        Raises:
            FolderError: if the snapshot is not there any more, or damaged.
        """
        folder = self.snapshot_folder(step)
        read_manifest(folder, KIND)
        load_weights(folder / QUERY_NAME, query_embedder)
        if block_embedder is not query_embedder:
            load_weights(folder / BLOCK_NAME, block_embedder)
        elif (folder / BLOCK_NAME).exists():
            raise FolderError(
                f"{self.model} must have as many embedders as the training. "
                f"Received: one, and two in {folder}. It is left from another "
                f"training: remove {self.path}, and restart both."
            )
        return folder / QUERY_NAME

    def index_steps(self) -> dict[int, int]:
        """Step of every complete index version, by its number."""
        found = self.indexed_snapshots()
        return {version: step for version, (step, _) in found.items()}

    def indexed_snapshots(self) -> dict[int, tuple[int, str]]:
        """Step and identity of what every index version was made of."""
        self.fetch_index()
        snapshots = {}
        for version in index_versions.list_versions(self.index):
            folder = index_versions.version_folder(self.index, version)
            try:
                manifest = read_manifest(
                    folder, index_versions.KIND, verify=False
                )
            except (FolderError, OSError):
                continue  # removed in this moment
            step = manifest.options.get(TRAINING_STEP, 0)
            snapshots[version] = step, manifest.files[QUERY_NAME].sha256
        return snapshots

    def snapshot_folder(self, step: int) -> pathlib.Path:
        """Where the snapshot of a step is, or would be."""
        return self._snapshots / f"step-{step:09d}"

    def publish_index(self) -> None:
        """Gives the newest index to the other side; a folder needs nothing."""

    def fetch_index(self) -> None:
        """Gets the newest index from the other side; see `publish_index`."""

    def _snapshot_manifest(self, step: int) -> str:
        file = self.snapshot_folder(step) / MANIFEST_NAME
        return file.read_text(encoding="utf-8")

    def _described_corpus(self) -> dict[str, Any]:
        return json.loads(self._corpus.read_text(encoding="utf-8"))

    def _steps(self) -> list[int]:
        if not self._snapshots.is_dir():
            return []
        return snapshot_steps(os.listdir(self._snapshots))


def snapshot_steps(names: Iterable[str]) -> list[int]:
    """Steps of the folders of snapshots among names, ascending."""
    matches = map(_NAME.fullmatch, names)
    return sorted(int(match[1]) for match in matches if match)


def save_weights(path: pathlib.Path, embedder: Embedder) -> None:
    """Writes the weights of an embedder, in the order it lists them."""
    weights: dict[str, Any] = {
        f"{i}": np.asarray(value)
        for i, value in enumerate(embedder.get_weights())
    }
    np.savez(path, **weights)


def load_weights(path: pathlib.Path, embedder: Embedder) -> None:
    """Loads the file of `save_weights` into an embedder of the same kind.

    Raises:
        FolderError: if the file is missing or of another embedder.
    """
    try:
        arrays = read_npz(path)
        weights = [arrays[f"{i}"] for i in range(len(arrays))]
        embedder.set_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise FolderError(
            f"{path} must hold the weights of the embedder. Received: "
            f"{type(error).__name__}: {error}. It may have been removed; take "
            "a newer one."
        ) from error
