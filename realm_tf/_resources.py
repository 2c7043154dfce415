"""What the machine has, and the error where a task needs more."""

import os
import pathlib

from realm_tf.errors import ResourceError

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


def require(
    what: str, needed: int, found: int, *, task: str, advice: str
) -> None:
    """Raises `ResourceError` if `task` needs more bytes than there are."""
    if needed > found:
        raise ResourceError(
            f"{task} needs {needed / 1e9:.1f} GB of {what}. Received: "
            f"{found / 1e9:.1f} GB. {advice}, or pass `force=True` to try it "
            "all the same."
        )
