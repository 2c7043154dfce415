"""The hidden folder beside a corpus in which it is built."""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from realm_tf._files import (
    LOCK_NAME,
    TEMPORARY_MARK,
    read_file,
    remove_leftover,
    replace_file,
    writer_lock,
)
from realm_tf.errors import FolderError

_PLAN_NAME = "plan.json"
_MAX_PLAN_BYTES = 2**30  # the sources are listed


def work_path(path: pathlib.Path) -> pathlib.Path:
    """Where the work folder of a folder is."""
    return path.with_name(f".{path.name}.building")


@contextlib.contextmanager
def open_work_folder(
    path: pathlib.Path, plan: dict[str, Any] | None, *, keep: bool = False
) -> Iterator[pathlib.Path]:
    """Opens the work folder of a folder that is being built.

    What an earlier run of the same plan left is kept, what another plan or a
    killed writer left is removed. The work folder itself goes when the body
    ends without an error, and without a plan in any case.

    Args:
        path: the folder to be built.
        plan: JSON value. Everything that decides the result; None if that is
            not known, and nothing is to be kept.
        keep: leave the work folder when the body ends.

    Yields:
        The work folder, locked until the body ends.

    Raises:
        FolderError: if `path` exists.
        LockedError: if another process is building it.
    """
    work = work_path(path)
    with writer_lock(work):
        _remove_leftovers(path)
        if path.exists():
            shutil.rmtree(work)
            raise FolderError(
                "A folder must be built at a path that does not exist yet. "
                f"Received: {path}. Choose another path, or remove it."
            )
        for leftover in work.glob(f".*{TEMPORARY_MARK}*"):
            remove_leftover(leftover)
        if plan is None or _read_plan(work) != plan:
            _restart(work, plan)
        is_finished = False
        try:
            yield work
            is_finished = True
        finally:
            if (is_finished and not keep) or plan is None:
                shutil.rmtree(work)


def _remove_leftovers(path: pathlib.Path) -> None:
    for leftover in path.parent.iterdir():
        if leftover.name.startswith(f".{path.name}{TEMPORARY_MARK}"):
            remove_leftover(leftover)


def _read_plan(work: pathlib.Path) -> Any:
    try:
        return json.loads(read_file(work / _PLAN_NAME, _MAX_PLAN_BYTES))
    except (OSError, ValueError):  # none, damaged, or no file
        return None


def _restart(work: pathlib.Path, plan: dict[str, Any] | None) -> None:
    for file in work.iterdir():
        if file.name != LOCK_NAME:
            remove_leftover(file)
    replace_file(work / _PLAN_NAME, json.dumps(plan))
