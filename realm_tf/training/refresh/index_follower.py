"""The index version that a training searches, always with its own embedder."""

import dataclasses
import math
import threading

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.errors import FolderError
from realm_tf.layers.embedder import Embedder
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.refresh.exchange import (
    QUERY_NAME,
    Exchange,
    load_weights,
)
from realm_tf.training.refresh.waiting import Waiting

_LONGEST_WAIT = 0.5  # seconds; training stands still meanwhile
_LOG_EVERY = 600.0  # it waits for every refresh in this process, too


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """What a batch is retrieved with.

    Args:
        index: `BlockIndex`.
        embedder: `TextEmbedder` with the weights that embedded the blocks.
        step: that these weights were trained for.
    """

    index: BlockIndex
    embedder: TextEmbedder
    step: int


class IndexFollower:
    """Picks up new index versions between batches, for one input stage.

    Args:
        exchange: `Exchange` with the index.
        corpus: `Corpus` that is searched.
        featurizer: `Featurizer`.
        query_embedder: `Embedder`; the follower has a copy, so that training
            does not change what queries are embedded with.
        every_n_steps: if given, the batch of a step waits for the version of
            the last multiple of it, and so is the same in every run.
        max_staleness_steps: if given, a batch waits for a version that is at
            most so many steps older.
        timeout: seconds to wait for it before an error; None for ever.
    """

    def __init__(
        self,
        exchange: Exchange,
        corpus: Corpus,
        featurizer: Featurizer,
        query_embedder: Embedder,
        *,
        every_n_steps: int | None = None,
        max_staleness_steps: int | None = None,
        timeout: float | None = None,
    ):
        self.exchange = exchange
        self.corpus = corpus
        self.every_n_steps = every_n_steps
        self.max_staleness_steps = max_staleness_steps
        self.timeout = timeout
        self._embedder = TextEmbedder(copy_layer(query_embedder), featurizer)
        self._current: Retrieval | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def acquire(self, step: int) -> Retrieval:
        """The newest version, for the batch of a step.

        It is right until the next call; one input stage may call.

        Raises:
            RuntimeError: if it was closed while it waited.
            TimeoutError: after `timeout`.
        """
        least = 0
        most: float = math.inf
        if self.every_n_steps:
            least = step // self.every_n_steps * self.every_n_steps
            # Newer ones are left from a run that was killed, until the first
            # host goes back.
            most = step
        elif self.max_staleness_steps is not None:
            least = max(0, step - self.max_staleness_steps)
        waiting = Waiting(
            f"the index of step {least}",
            self.exchange,
            self.timeout,
            longest=_LONGEST_WAIT,
            log_every=_LOG_EVERY,
        )
        while not self._closed.is_set():
            with self._lock:
                current = self._reload()
            if current is not None and least <= current.step <= most:
                return current
            waiting.wait(self._closed)
        raise RuntimeError(
            "An index must be asked for before the training ends. Received: "
            f"step={step}, after `close`. Make another `IndexFollower`."
        )

    def close(self) -> None:
        """Ends waiting."""
        self._closed.set()

    def _reload(self) -> Retrieval | None:
        current = self._current
        self.exchange.fetch_index()
        versions = index_versions.list_versions(self.exchange.index)
        newest = versions[-1] if versions else 0
        if newest <= (current.index.version if current else 0):
            return current
        try:
            index = BlockIndex.open(
                self.exchange.index, self.corpus, version=newest, verify=False
            )
            load_weights(index.folder / QUERY_NAME, self._embedder.embedder)
        except FolderError:
            if current is None:
                raise
            # Removed in this moment: there is a newer one.
            return current
        self._current = Retrieval(index, self._embedder, index.training_step)
        return self._current
