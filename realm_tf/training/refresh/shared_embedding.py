"""Embedding a corpus by several refreshers, chunk by chunk."""

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from realm_tf._files import replacing
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.engine.text_embedder import TextEmbedder, num_chunks
from realm_tf.errors import FolderError
from realm_tf.training.refresh.exchange import (
    BLOCK_NAME,
    load_weights,
    save_weights,
)

_NAME = re.compile(r"step-(\d{9,})-.+")


class SharedEmbedding:
    """Chunks of embeddings that workers write into one folder.

    parts/step-000000500-x1y2/   weights to embed with; chunk-000007.npy

    Worker 0 begins a folder, every worker embeds the chunks whose number is
    its own, and worker 0 embeds what is left: it never waits, so workers may
    come late, end early or die.

    Args:
        path: the folder `parts`.
        corpus: `Corpus` to embed.
        embedder: `TextEmbedder` of blocks, of the worker's own.
        worker: number of the worker.
        num_workers: number of all.

    Raises:
        ValueError: if `worker` is not one of them.
    """

    def __init__(
        self,
        path: pathlib.Path,
        corpus: Corpus,
        embedder: TextEmbedder,
        worker: int,
        num_workers: int,
    ):
        if not 0 <= worker < num_workers:
            raise ValueError(
                "`worker` must be 0 or more and below `num_workers`. Received: "
                f"worker={worker}, num_workers={num_workers}. Number them "
                "from 0."
            )
        self.path = path
        self.corpus = corpus
        self.embedder = embedder
        self.worker = worker
        self.num_workers = num_workers
        self._num_chunks = num_chunks(corpus)

    def help(self) -> int | None:
        """Embeds the chunks of this worker for worker 0.

        Returns:
            Step of the weights; None if there was nothing to do.
        """
        folder = self._newest()
        if folder is None:
            return None
        own = range(self.worker, self._num_chunks, self.num_workers)
        missing = [i for i in own if not _chunk(folder, i).exists()]
        if not missing:
            return None
        try:
            load_weights(folder / BLOCK_NAME, self.embedder.embedder)
            for i in missing:
                if not _chunk(folder, i).exists():
                    self._embed(folder, i)
        except (FolderError, OSError):
            if folder.exists():
                raise
            return None  # worker 0 has all it needs
        match = _NAME.fullmatch(folder.name)
        return int(match[1]) if match else None

    def embed(self, step: int) -> Iterator[np.ndarray]:
        """The embeddings of all blocks, in order and in chunks, as worker 0.

        Args:
            step: of the weights that `embedder` has.
        """
        if self.num_workers == 1:
            yield from self.embedder.corpus(self.corpus)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.iterdir():
            _remove(left)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=".", dir=self.path))
        save_weights(temporary / BLOCK_NAME, self.embedder.embedder)
        # Its name is its own: weights of the same step may be retrained.
        folder = self.path / f"step-{step:09d}-{temporary.name[1:]}"
        temporary.rename(folder)
        try:
            chunks = range(self._num_chunks)
            own = [i for i in chunks if i % self.num_workers == 0]
            others = [i for i in chunks if i % self.num_workers]
            # Others begin with their first chunk, so this one with their last.
            for i in own + others[::-1]:
                if not _chunk(folder, i).exists():
                    self._embed(folder, i)
            for i in chunks:
                yield np.load(_chunk(folder, i))
        finally:
            _remove(folder)

    def _newest(self) -> pathlib.Path | None:
        if not self.path.is_dir():
            return None
        names = [n for n in os.listdir(self.path) if _NAME.fullmatch(n)]
        return self.path / max(names) if names else None

    def _embed(self, folder: pathlib.Path, i: int) -> None:
        embeddings = self.embedder.chunk(self.corpus, i)
        with replacing(_chunk(folder, i)) as file:
            np.save(file, embeddings, allow_pickle=False)


def _remove(folder: pathlib.Path) -> None:
    # At once for those who write into it.
    hidden = folder.with_name(f".{folder.name}")
    with contextlib.suppress(OSError):
        folder.rename(hidden)
        shutil.rmtree(hidden)


def _chunk(folder: pathlib.Path, i: int) -> pathlib.Path:
    return folder / f"chunk-{i:06d}.npy"
