"""How a folder takes the place of another one, beside readers and kills."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import TypeVar

from realm_tf._files import (
    TEMPORARY_MARK,
    exchange,
    remove_leftover,
    sync,
    temporary_name,
)

_REPLACED = "-replaced"
_TRIES = 5
_WAIT_SECONDS = 0.01
_T = TypeVar("_T")


def read_whole(path: str | os.PathLike[str], read: Callable[[], _T]) -> _T:
    """Reads a folder once more if it was replaced while it was read.

    Args:
        path: the folder.
        read: reads it, or some of it, and may fail.
    """
    path = pathlib.Path(path)
    for _ in range(_TRIES):
        _await_replacement(path)
        before = _identity(path)
        try:
            result = read()
        except (OSError, ValueError):
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return result
    return read()


def publish(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Puts the new folder in place; an old one is under `temporary` then."""
    if not path.exists():
        temporary.rename(path)
    elif not exchange(temporary, path):
        # Between these two there is no folder: readers wait for it, and the
        # next one brings it back if the writer is killed.
        replaced = temporary.with_name(temporary.name + _REPLACED)
        path.rename(replaced)
        try:
            temporary.rename(path)
        except OSError:
            replaced.rename(path)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    sync(path.parent)


def make_temporary(path: pathlib.Path) -> tuple[pathlib.Path, int]:
    """A folder beside `path`, locked for as long as its writer lives."""
    while True:
        temporary = temporary_name(path)
        temporary.mkdir()
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        if _lock(descriptor) is not False and temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # somebody tidied in this moment


def _lock(descriptor: int) -> bool | None:
    """Locks a folder; None where the file system has no locks for that."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_abandoned(temporary: pathlib.Path) -> bool:
    """Whether the writer of a temporary folder is gone for sure."""
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        return _lock(descriptor) is True
    finally:
        os.close(descriptor)


def _leftovers(path: pathlib.Path) -> list[pathlib.Path]:
    """Temporary folders of `path`, of writers dead and alive."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    start = f".{path.name}{TEMPORARY_MARK}"
    return [path.with_name(n) for n in sorted(names) if n.startswith(start)]


def tidy(path: pathlib.Path) -> None:
    """Brings back or removes what killed writers left."""
    _await_replacement(path)
    for leftover in _leftovers(path):
        temporary = leftover.with_name(leftover.name.removesuffix(_REPLACED))
        if leftover.is_dir() and _is_abandoned(temporary):
            remove_leftover(leftover)


def _await_replacement(path: pathlib.Path) -> None:
    """Waits for a writer between its two renames; does its work if it died."""
    while not path.exists():
        replaced = [f for f in _leftovers(path) if f.name.endswith(_REPLACED)]
        if not replaced:
            return
        leftover = replaced[-1]
        if _is_abandoned(
            leftover.with_name(leftover.name.removesuffix(_REPLACED))
        ):
            with contextlib.suppress(OSError):  # another reader was faster
                leftover.rename(path)
            return
        time.sleep(_WAIT_SECONDS)


def _identity(path: pathlib.Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
