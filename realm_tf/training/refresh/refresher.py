"""Refresher: embeds all blocks with every newest snapshot."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.fingerprints import embedder_fingerprint
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.errors import FolderError, LockedError
from realm_tf.layers.embedder import Embedder
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.refresh.exchange import QUERY_NAME, Exchange
from realm_tf.training.refresh.shared_embedding import SharedEmbedding
from realm_tf.training.refresh.waiting import Waiting

logger = logging.getLogger(__name__)

_LOCK_WAIT = 0.1  # seconds
_LONGEST_LOCK = 60.0
_GOOD_RECALL = 0.9  # of the exact 20 best blocks, by ScaNN


class _OutdatedError(Exception):
    """A snapshot was forgotten by the training, and must get no index."""


class Refresher:
    """Turns snapshots into index versions.

    Args:
        exchange: `Exchange`.
        corpus: `Corpus` to embed.
        featurizer: `Featurizer`.
        query_embedder: `Embedder`, of the refresher's own: its weights are
            replaced.
        block_embedder: the same; the same object if the two are shared.
        worker: number of this refresher, where several embed together. The
            first, 0, builds the index; the others help it.
        num_workers: number of refreshers.
        **index_options: of `BlockIndex.build`, such as `searcher`. A low recall
            of ScaNN is a warning here unless there is a `recall_floor`:
            embeddings that are still learning may be hard to search.
    """

    def __init__(
        self,
        exchange: Exchange,
        corpus: Corpus,
        featurizer: Featurizer,
        query_embedder: Embedder,
        block_embedder: Embedder,
        *,
        worker: int = 0,
        num_workers: int = 1,
        **index_options: Any,
    ):
        self.exchange = exchange
        self.corpus = corpus
        self.featurizer = featurizer
        self.query_embedder = query_embedder
        self.block_embedder = block_embedder
        self.index_options = {"recall_floor": 0.0, **index_options}
        self._shared = SharedEmbedding(
            exchange.path / "parts",
            corpus,
            TextEmbedder(block_embedder, featurizer),
            worker,
            num_workers,
        )

    def refresh(self, progress: Progress = no_progress) -> int | None:
        """Publishes an index of the newest snapshot, if there is none yet.

        Snapshots that came and went in the meantime are skipped.

        Args:
            progress: see `BlockIndex.build`.

        Returns:
            Step of the snapshot; None if there was nothing to do, or if the
            training went back before it meanwhile.

        Raises:
            LockedError: if another refresher is writing the index.
            OSError: if the disk is full; the older versions stay.
        """
        if self._shared.worker:
            return self._shared.help()
        found = self._read_newest()
        if found is None:
            return None
        step, identity, weights = found
        try:
            index = BlockIndex.build(
                self.exchange.index,
                self.corpus,
                self._embed(step, identity),
                embedder_fingerprint=embedder_fingerprint(
                    self.block_embedder, self.featurizer
                ),
                training_step=step,
                attachments={QUERY_NAME: weights},
                progress=progress,
                # Masked words are searched by embeddings.
                **{"analyzer": None, **self.index_options},
            )
        except _OutdatedError:
            return None
        self.exchange.publish_index()
        recall = index.manifest.options.get("searcher_recall", {})
        if recall.get("at_20", 1.0) < _GOOD_RECALL:
            logger.warning(
                "ScaNN finds %.2f of the 20 best blocks in the index of step "
                "%d.",
                recall["at_20"],
                step,
            )
        return step

    def _embed(self, step: int, identity: str | None) -> Iterator[np.ndarray]:
        """All embeddings, unless the training went back in the meantime."""
        yield from self._shared.embed(step)
        newest = self.exchange.newest_snapshot()
        found = self.exchange.snapshot_identity(step)
        if newest is None or newest < step or found not in (None, identity):
            raise _OutdatedError

    def _read_newest(self) -> tuple[int, str | None, bytes] | None:
        """Reads the newest snapshot, if it has no index.

        Returns:
            Its step, its identity and the file of its query embedder.
        """
        while True:
            step = self.exchange.newest_snapshot()
            if step is None:
                return None
            identity = self.exchange.snapshot_identity(step)
            # Not "older than", nor the step alone: a training that went back
            # repeats the same steps.
            indexed = self.exchange.indexed_snapshots()
            if indexed and indexed[max(indexed)] == (step, identity):
                return None
            try:
                file = self.exchange.read_snapshot(
                    step, self.query_embedder, self.block_embedder
                )
                return step, identity, file.read_bytes()
            except (FolderError, FileNotFoundError):
                if self.exchange.newest_snapshot() == step:
                    raise
                # The trainer removed it: there is a newer one.

    def watch(
        self,
        *,
        timeout: float | None = None,
        stop: threading.Event | None = None,
        on_refresh: Callable[[int, float], None] | None = None,
    ) -> int:
        """Refreshes until the training has ended.

        Args:
            timeout: seconds without a new snapshot after which to give up.
            stop: ends it, too.
            on_refresh: called with the step and the seconds of each refresh.

        Returns:
            Number of refreshes.

        Raises:
            TimeoutError: after `timeout`.
            LockedError: if another refresher keeps writing the index.
        """
        stop = stop or threading.Event()
        waiting = Waiting("a snapshot", self.exchange, timeout)
        count = 0
        unlocked = time.monotonic()
        while not stop.is_set():
            start = time.monotonic()
            is_done = self.exchange.is_done  # before the last look
            try:
                step = self.refresh()
            except LockedError:
                # By the trainer, while it goes back to an older version;
                # another refresher is longer at it.
                if start - unlocked > _LONGEST_LOCK:
                    raise
                stop.wait(_LOCK_WAIT)
                continue
            unlocked = time.monotonic()
            if step is not None:
                count += 1
                if on_refresh is not None:
                    on_refresh(step, time.monotonic() - start)
                waiting = Waiting("a snapshot", self.exchange, timeout)
            elif is_done:
                break
            else:
                waiting.wait(stop)
        return count
