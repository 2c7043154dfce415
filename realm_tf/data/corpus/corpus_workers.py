"""Processes that tokenize parts of a corpus."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from realm_tf.data.corpus.corpus_parts import PartCounts, PartTask, write_part
from realm_tf.data.text.featurizer import Featurizer

_worker: tuple[Featurizer, int] | None = None  # in a worker process only


def write_parts(
    tasks: Iterable[PartTask],
    featurizer: Featurizer,
    max_wordpieces: int,
    num_processes: int,
) -> Iterator[PartCounts]:
    """Writes parts, at most two a process at a time.

    Args:
        tasks: read no faster than parts are written.
        featurizer: each process makes a copy of it.
        max_wordpieces: see `split_into_blocks`.
        num_processes: 1 writes the parts in this process.

    Yields:
        `PartCounts`, in the order in which parts are finished.

    Raises:
        RuntimeError: if a process dies.
    """
    if num_processes == 1:
        for task in tasks:
            yield write_part(task, featurizer, max_wordpieces)
        return
    # A forked copy of a process that has used TensorFlow can hang.
    executor = concurrent.futures.ProcessPoolExecutor(
        num_processes,
        multiprocessing.get_context("spawn"),
        _start_worker,
        (featurizer.vocabulary, featurizer.get_config(), max_wordpieces),
    )
    try:
        pending: set[concurrent.futures.Future[PartCounts]] = set()
        for task in tasks:
            pending.add(executor.submit(_write_part, task))
            if len(pending) >= 2 * num_processes:
                done, pending = concurrent.futures.wait(
                    pending, return_when=concurrent.futures.FIRST_COMPLETED
                )
                yield from (future.result() for future in done)
        for future in concurrent.futures.as_completed(pending):
            yield future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"One of {num_processes} worker processes died, perhaps for want "
            "of memory, or because the script starts without `if __name__ == "
            '"__main__":`. Run the same command with fewer processes to '
            "resume."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker(
    vocabulary: tuple[str, ...], config: dict[str, Any], max_wordpieces: int
) -> None:
    global _worker
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker = Featurizer(vocabulary, **config), max_wordpieces


def _exit_with_parent() -> None:
    # Workers of a killed parent would wait for work forever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _write_part(task: PartTask) -> PartCounts:
    if _worker is None:
        raise RuntimeError("`_write_part` runs in a worker process only.")
    featurizer, max_wordpieces = _worker
    return write_part(task, featurizer, max_wordpieces)
