"""An exchange through a bucket, for machines that share no folder."""

import contextlib
import logging
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Collection

import tensorflow as tf

from realm_tf._files import replace_file, writer_lock
from realm_tf._manifest import MANIFEST_NAME
from realm_tf.checkpoints.fetching import copy_folder
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import FolderError
from realm_tf.layers.embedder import Embedder
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.retrieval.index import index_versions
from realm_tf.training.refresh.exchange import Exchange, snapshot_steps

logger = logging.getLogger(__name__)

_LOOK_EVERY = 10.0  # seconds; each look asks the bucket more than once
_LOCK_TIMEOUT = 600.0
_CORPUS, _MODEL, _DONE = "corpus.json", "model", "done"
_SNAPSHOTS, _INDEX = "snapshots", "index"
_FETCHED = "fetched"


class BucketExchange(Exchange):
    """An `Exchange` that is copied to and from a bucket.

    The bucket has the folders of `Exchange`. What this side writes is copied
    there, and what the other side wrote from there, each folder with its
    manifest last: one without does not count, as objects cannot be renamed.
    Index versions have numbers of their own on each machine, because a
    training that goes back to an older one gives it a new number.

    Args:
        url: folder of a bucket that `tf.io.gfile` writes, `gs://bucket/run`.
        path: folder of this machine, for the copies.
    """

    def __init__(self, url: str, path: str | os.PathLike[str]):
        super().__init__(path)
        self.url = url.rstrip("/")
        self._next_look = 0.0

    def begin(self, qa: QuestionAnswerer, corpus: Corpus) -> None:
        if self._has(_CORPUS):
            self._download_file(_CORPUS)  # to be compared
        super().begin(qa, corpus)
        if not self._has(f"{_MODEL}/{MANIFEST_NAME}"):
            self._upload(self.model, _MODEL)
        self._remove(_DONE)
        self._upload_file(self.path / _CORPUS, _CORPUS)

    def end(self) -> None:
        super().end()
        self._upload_file(self.path / _DONE, _DONE)

    @property
    def is_done(self) -> bool:
        return self._has(_DONE)

    @property
    def is_begun(self) -> bool:
        if not self._has(_CORPUS):
            return False
        if not self.model.is_dir():
            self._download(_MODEL, self.model)
        self._download_file(_CORPUS)
        return True

    def write_snapshot(
        self,
        step: int,
        query_embedder: Embedder,
        block_embedder: Embedder,
        needed: Collection[int] = (),
    ) -> None:
        super().write_snapshot(step, query_embedder, block_embedder, needed)
        folder = self.snapshot_folder(step)
        self._upload(folder, f"{_SNAPSHOTS}/{folder.name}")
        for name in self._list(_SNAPSHOTS):
            if not (self.path / _SNAPSHOTS / name).is_dir():
                self._remove(f"{_SNAPSHOTS}/{name}")

    def forget_after(self, step: int) -> None:
        super().forget_after(step)
        for later in self._bucket_steps():
            if later > step:
                name = self.snapshot_folder(later).name
                self._remove(f"{_SNAPSHOTS}/{name}")

    def newest_snapshot(self) -> int | None:
        steps = self._bucket_steps()
        return max(steps) if steps else None

    def read_snapshot(
        self, step: int, query_embedder: Embedder, block_embedder: Embedder
    ) -> pathlib.Path:
        # Always anew: the weights of a step may have been retrained.
        folder = self.snapshot_folder(step)
        self._download(f"{_SNAPSHOTS}/{folder.name}", folder)
        return super().read_snapshot(step, query_embedder, block_embedder)

    def publish_index(self) -> None:
        numbers = self._bucket_versions(complete=False)
        number = max(numbers, default=0) + 1
        version = index_versions.find_version(self.index, None)
        folder = index_versions.version_folder(_INDEX, number)
        self._upload_file(
            index_versions.updates_file(self.index, version),
            str(index_versions.updates_file(_INDEX, number)),
        )
        self._upload(
            index_versions.version_folder(self.index, version), str(folder)
        )
        self._write_fetched(number)
        for old in self._bucket_versions()[: -index_versions.KEEP]:
            self._remove(str(index_versions.version_folder(_INDEX, old)))
            self._remove(str(index_versions.updates_file(_INDEX, old)))

    def fetch_index(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY
        newest = 0
        try:
            fetched = self._read_fetched()
            newest = self._newest_version(above=fetched)
            if newest > fetched:
                self._fetch_version(newest)
        except (tf.errors.OpError, FileNotFoundError, FolderError) as error:
            folder = index_versions.version_folder(_INDEX, newest)
            if isinstance(error, FolderError) and self._has(
                f"{folder}/{MANIFEST_NAME}"
            ):
                raise
            # Out of reach, or removed in this moment: the next look may tell.
            logger.warning("No index came from %s: %s", self.url, error)

    def _fetch_version(self, number: int) -> None:
        folder = index_versions.version_folder(_INDEX, number)
        updates = index_versions.updates_file(_INDEX, number)
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path, prefix=".") as name:
            incoming = pathlib.Path(name)
            copy_folder(f"{self.url}/{folder}", incoming / folder.name)
            tf.io.gfile.copy(
                f"{self.url}/{updates}", str(incoming / updates.name)
            )
            with writer_lock(self.index, timeout=_LOCK_TIMEOUT):
                # Another process of this machine may have been faster.
                if number > self._read_fetched():
                    index_versions.copy_version(incoming, number, self.index)
                    self._write_fetched(number)

    def _snapshot_manifest(self, step: int) -> str:
        name = f"{_SNAPSHOTS}/{self.snapshot_folder(step).name}/{MANIFEST_NAME}"
        try:
            with tf.io.gfile.GFile(f"{self.url}/{name}") as file:
                return file.read()
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(name) from error

    def _bucket_versions(self, *, complete: bool = True) -> list[int]:
        numbers = index_versions.numbers(self._list(_INDEX))
        return [n for n in numbers if not complete or self._is_complete(n)]

    def _newest_version(self, above: int) -> int:
        """The newest complete version above a number, or that number."""
        numbers = self._bucket_versions(complete=False)
        later = sorted((n for n in numbers if n > above), reverse=True)
        return next((n for n in later if self._is_complete(n)), above)

    def _is_complete(self, number: int) -> bool:
        folder = index_versions.version_folder(_INDEX, number)
        return self._has(f"{folder}/{MANIFEST_NAME}")

    def _bucket_steps(self) -> list[int]:
        return snapshot_steps(
            name
            for name in self._list(_SNAPSHOTS)
            if self._has(f"{_SNAPSHOTS}/{name}/{MANIFEST_NAME}")
        )

    def _read_fetched(self) -> int:
        file = self.path / _FETCHED
        return int(file.read_text("utf-8")) if file.exists() else 0

    def _write_fetched(self, number: int) -> None:
        replace_file(self.path / _FETCHED, f"{number}\n")

    def _has(self, name: str) -> bool:
        return bool(tf.io.gfile.exists(f"{self.url}/{name}"))

    def _list(self, name: str) -> list[str]:
        try:
            names = tf.io.gfile.listdir(f"{self.url}/{name}")
        except tf.errors.NotFoundError:
            return []
        return [name.rstrip("/") for name in names]

    def _download(self, name: str, target: pathlib.Path) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path, prefix=".") as parent:
            try:
                copy_folder(f"{self.url}/{name}", pathlib.Path(parent) / "new")
            except (tf.errors.NotFoundError, FileNotFoundError) as error:
                raise FolderError(
                    f"{self.url}/{name} is missing: {error}. It may have been "
                    "removed; take a newer one."
                ) from error
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            (pathlib.Path(parent) / "new").rename(target)

    def _download_file(self, name: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with tf.io.gfile.GFile(f"{self.url}/{name}") as file:
            replace_file(self.path / name, file.read())

    def _upload(self, folder: pathlib.Path, name: str) -> None:
        self._remove(name)
        files = [path for path in folder.rglob("*") if path.is_file()]
        files.sort(key=lambda path: path == folder / MANIFEST_NAME)
        for path in files:
            self._upload_file(path, f"{name}/{path.relative_to(folder)}")

    def _upload_file(self, path: pathlib.Path, name: str) -> None:
        target = f"{self.url}/{name}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(path), target, overwrite=True)

    def _remove(self, name: str) -> None:
        # Without its manifest half a folder does not count.
        for path in (f"{name}/{MANIFEST_NAME}", name):
            url = f"{self.url}/{path}"
            if not tf.io.gfile.exists(url):
                continue
            is_folder = tf.io.gfile.isdir(url)
            with contextlib.suppress(tf.errors.NotFoundError):
                (tf.io.gfile.rmtree if is_folder else tf.io.gfile.remove)(url)
