"""One writer at a time for an index; the lock knows who holds it."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from realm_tf.errors import LockedError

_LOCK_NAME = ".writer.lock"
_POLL_SECONDS = 0.02


@contextlib.contextmanager
def writer_lock(
    folder: str | os.PathLike[str], *, timeout: float = 0.0
) -> Iterator[None]:
    """Holds the right to write into `folder`.

    The operating system gives the lock up when its process dies, so a stale
    lock cannot exist; what the file says is for the error message only.

    Args:
        folder: created if it does not exist.
        timeout: seconds to wait for another writer to finish.

    Raises:
        LockedError: naming the writer that holds the lock.
        OSError: if the folder cannot be written.
    """
    path = pathlib.Path(folder) / _LOCK_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, path, time.monotonic() + timeout)
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: pathlib.Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LockedError(
                    "An index must have one writer at a time. Received: "
                    f"{path.parent} is being written by {_holder(path)}. Wait "
                    "for it to finish, or stop it."
                ) from error
        time.sleep(_POLL_SECONDS)


def _holder(path: pathlib.Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):  # it has not written yet
        return "a process that has just started"
