"""Refreshes the index of a training until the training ends.

Run as a program it takes its options from the first line of its standard
input, as JSON, and exits when its standard input is closed.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable

from realm_tf.checkpoints import presets
from realm_tf.training.refresh.bucket_exchange import BucketExchange
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.refresher import Refresher
from realm_tf.training.refresh.waiting import Waiting


def follow_training(
    watch: str,
    *,
    work: str | os.PathLike[str] | None = None,
    corpus: str | os.PathLike[str] | None = None,
    dtype: str = "float32",
    timeout: float | None = None,
    on_refresh: Callable[[int, float], None] | None = None,
    searcher: str = "auto",
    worker: int = 0,
    num_workers: int = 1,
) -> int:
    """Re-embeds all blocks whenever a training writes new weights.

    Args:
        watch: folder `exchange` of the training, or its bucket; may not exist
            yet.
        work: folder for copies from a bucket. Default: a temporary one.
        corpus: the corpus on this machine. Default: where the trainer has it.
        dtype: dtype policy of the embedders.
        timeout: seconds without a new snapshot after which to give up.
        on_refresh: see `Refresher.watch`.
        searcher: see `BlockIndex.build`.
        worker: see `Refresher`.
        num_workers: see `Refresher`.

    Returns:
        Number of refreshes.

    Raises:
        TimeoutError: after `timeout`.
        ValueError: if several workers are to share a bucket.
    """
    is_bucket = "://" in watch
    if is_bucket and num_workers > 1:
        raise ValueError(
            "`num_workers` must be 1 with a bucket. Received: num_workers="
            f"{num_workers}, watch={watch}. Give the workers a folder that "
            "they share."
        )
    with contextlib.ExitStack() as stack:
        exchange = (
            Exchange(watch)
            if not is_bucket
            else BucketExchange(
                watch,
                work
                or stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="realm_tf-")
                ),
            )
        )
        waiting = Waiting("a training", exchange, timeout)
        while not exchange.is_begun:
            waiting.wait()
        parts = presets.read_preset(exchange.model, dtype=dtype)
        refresher = Refresher(
            exchange,
            exchange.open_corpus(corpus),
            parts.featurizer,
            parts.query_embedder,
            parts.block_embedder,
            worker=worker,
            num_workers=num_workers,
            searcher=searcher,
        )
        return refresher.watch(timeout=timeout, on_refresh=on_refresh)


def _exit_with_trainer() -> None:
    # The pipe closes when the trainer ends, however it does. What is half
    # embedded then is of no use; the next writer removes it.
    # Not `sys.stdin`: Python aborts if a thread reads it at the end.
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


if __name__ == "__main__":
    options = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_with_trainer, daemon=True).start()
    follow_training(**options)
