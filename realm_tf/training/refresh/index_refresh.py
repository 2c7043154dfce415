"""IndexRefresh: the index follows the weights while a model trains."""

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from realm_tf.options import RefreshOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.index_follower import IndexFollower
from realm_tf.training.refresh.refresher import Refresher
from realm_tf.training.refresh.waiting import Waiting
from realm_tf.training.step_callback import StepCallback

logger = logging.getLogger(__name__)

_CHILD = "realm_tf.training.refresh.follow_training"


class IndexRefresh(StepCallback):
    """Writes a snapshot every few steps, and has an index built from it.

    Every mode does the same in another place: the snapshot is read, all blocks
    are embedded, and a new index version appears, whole. The input stage
    (`IndexFollower`) picks it up between batches.

    Args:
        exchange: `Exchange`.
        query_embedder: `Embedder` that trains.
        block_embedder: the same; the same object if the two are shared.
        follower: `IndexFollower` of the input stage.
        refresher: `Refresher` for `mode="sync"`.
        child_options: of `follow_training`, for the child process.
        **options: of `RefreshOptions`. A follower with the same
            `max_staleness_steps` keeps to it; otherwise the few batches that
            were made ahead may be older.

    Raises:
        ValueError: if there is no refresher for mode="sync".
    """

    def __init__(
        self,
        exchange: Exchange,
        query_embedder: Any,
        block_embedder: Any,
        follower: IndexFollower,
        refresher: Refresher | None = None,
        *,
        child_options: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__()
        self.options = RefreshOptions(**options)
        if self.options.mode == "sync" and refresher is None:
            raise ValueError(
                '`refresher` must be given with mode="sync". Received: None. '
                "It embeds the blocks in this process."
            )
        self.exchange = exchange
        self.query_embedder = query_embedder
        self.block_embedder = block_embedder
        self.follower = follower
        self.refresher = refresher
        self.child_options = dict(child_options or {})
        self.checkpoint_steps: Callable[[], list[int]] = list  # by `pretrain`
        self._warned = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._child_log: Any = None

    def begin(self, step: int) -> None:
        """Sees that the index of a step is there, before the first batch.

        It is that of the last multiple of `every_n_steps`, rebuilt from
        its snapshot if need be. Versions that a killed run published later are
        left behind.
        """
        self.go_on(step, {})
        self.exchange.forget_after(step)
        wanted = step // self.options.every_n_steps * self.options.every_n_steps
        if step == wanted:
            self._write_snapshot()
        identity = self.exchange.snapshot_identity(wanted)
        indexed = self.exchange.indexed_snapshots()
        usable = []
        for version, (number, found) in indexed.items():
            if number == wanted:
                # One of other weights is left from a run before the first
                # checkpoint.
                fits = identity in (None, found)
            else:
                fits = number < wanted and self.options.mode != "sync"
            if fits:
                usable.append(version)
        if usable and max(usable) != max(indexed):
            # A refresher may still be at work for the run before.
            timeout = (
                math.inf
                if self.options.timeout is None
                else self.options.timeout
            )
            BlockIndex.roll_back(
                self.exchange.index, max(usable), timeout=timeout
            )
        if self.options.mode == "background":
            self._start_child()
        is_lost = identity is None and all(
            indexed[version][0] < wanted for version in usable
        )
        if is_lost or not usable:
            if is_lost:
                logger.warning(
                    "The index of step %d and its snapshot are gone. The index "
                    "is rebuilt with the weights of step %d, so training will "
                    "differ from an unbroken run.",
                    wanted,
                    step,
                )
                self._write_snapshot()
            self._refresh()
            self._wait_for(wanted, step)

    def on_step(self, logs: dict[str, float]) -> None:
        self._check_child()
        if self.step % self.options.every_n_steps == 0:
            self._write_snapshot()
            self._refresh()
        if self.options.max_staleness_steps is not None:
            self._check_age(self.options.max_staleness_steps)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        # A training that stopped early may resume, and needs refreshers then.
        if not getattr(self.model, "stop_training", False):
            self.exchange.end()

    def close(self) -> None:
        """Ends the child and all waiting, after training or an error."""
        self.follower.close()
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()  # it notices, and ends
            try:
                self._child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child_log.close()
            self._child = None

    def _write_snapshot(self) -> None:
        every = self.options.every_n_steps
        self.exchange.write_snapshot(
            self.step,
            self.query_embedder,
            self.block_embedder,
            # A run resumes from a checkpoint with the index of that step.
            [step // every * every for step in self.checkpoint_steps()],
        )

    def _refresh(self) -> None:
        if self.options.mode == "sync" and self.refresher is not None:
            self.refresher.refresh()

    def _check_age(self, most: int) -> None:
        newest = self._newest()
        age = self.step - newest
        if age <= most:
            return
        if self.options.on_stale == "wait":
            self._wait_for(self.step - most)
        elif self.options.on_stale == "stop":
            logger.warning(
                "Training stops at step %d: the index is %d steps old.",
                self.step,
                age,
            )
            self.model.stop_training = True
        elif self._warned != newest:
            self._warned = newest
            logger.warning(
                "The index is %d steps old at step %d.", age, self.step
            )

    def _wait_for(self, least: int, most: float = math.inf) -> None:
        waiting = Waiting("a newer index", self.exchange, self.options.timeout)
        while not least <= self._newest() <= most:
            self._check_child()
            waiting.wait()

    def _newest(self) -> int:
        steps = self.exchange.index_steps()
        return steps[max(steps)] if steps else -1

    def _start_child(self) -> None:
        self._child_log = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            [sys.executable, "-m", _CHILD],
            env=os.environ | {"KERAS_BACKEND": "tensorflow"},
            stdin=subprocess.PIPE,
            stdout=self._child_log,
            stderr=subprocess.STDOUT,
        )
        options = {"watch": str(self.exchange.path), **self.child_options}
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(options).encode() + b"\n")
        self._child.stdin.flush()

    def _check_child(self) -> None:
        if self._child is None or self._child.poll() is None:
            return
        self._child_log.seek(0)
        lines = self._child_log.read().decode(errors="replace").splitlines()
        raise RuntimeError(
            "The process that refreshes the index exited with code "
            f"{self._child.returncode}: {' '.join(lines[-3:])}. Start the same "
            "training to resume from the last checkpoint."
        )
