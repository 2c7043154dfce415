"""Memory and disk of the machine, and the error where they are too small."""

import os
import pathlib
import shutil

from realm_tf.errors import ResourceError

GIGABYTE = 10**9
# Limits of a container, of version 2 and 1 of Linux' control groups.
_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes() -> int:
    """Memory that this process may have: all of the machine or container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        try:
            memory = min(memory, int(limit.read_text()))
        except (OSError, ValueError):  # no such version; "max": no limit
            continue
    return memory


def free_disk_bytes(path: str | os.PathLike[str]) -> int:
    """Free space where `path` is, or will be."""
    folder = pathlib.Path(os.path.abspath(path))
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_memory(needed: int, task: str, advice: str) -> None:
    """Raises `ResourceError` unless `needed` bytes fit into the memory."""
    _require("memory", needed, memory_bytes(), task, advice)


def require_disk(
    needed: int, path: str | os.PathLike[str], task: str, advice: str
) -> None:
    """Raises `ResourceError` unless `needed` bytes are free at `path`."""
    _require("free disk", needed, free_disk_bytes(path), task, advice)


def _require(
    what: str, needed: int, found: int, task: str, advice: str
) -> None:
    if needed > found:
        raise ResourceError(
            f"{task} needs {needed / GIGABYTE:.1f} GB of {what}. Received: "
            f"{found / GIGABYTE:.1f} GB. {advice}, or pass `force=True` to try "
            "it all the same."
        )
