"""The hidden folder beside a corpus in which it is built."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from realm_tf._manifest import TEMPORARY_MARK
from realm_tf.errors import FolderError

_PLAN_NAME = "plan.json"


@contextlib.contextmanager
def open_work_folder(
    path: pathlib.Path, plan: dict[str, Any] | None
) -> Iterator[pathlib.Path]:
    """Opens the work folder of a folder that is being built.

    What an earlier run of the same plan left is kept, what another plan or a
    killed writer left is removed. The work folder itself goes when the body
    ends without an error, and without a plan in any case.

    Args:
        path: the folder to be built.
        plan: JSON value. Everything that decides the result; None if that is
            not known, and nothing is to be kept.

    Yields:
        The work folder, locked until the body ends.

    Raises:
        FolderError: if `path` exists, or another process is building it.
    """
    work = path.with_name(f".{path.name}.building")
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work, path):
        _remove_leftovers(path)
        if path.exists():
            shutil.rmtree(work)
            raise FolderError(
                "A folder must be built at a path that does not exist yet. "
                f"Received: {path}. Choose another path, or remove it."
            )
        if plan is None or _read_plan(work) != plan:
            _restart(work, plan)
        is_finished = False
        try:
            yield work
            is_finished = True
        finally:
            if is_finished or plan is None:
                shutil.rmtree(work)


@contextlib.contextmanager
def _locked(work: pathlib.Path, path: pathlib.Path) -> Iterator[None]:
    # The system releases the lock of a process that dies.
    descriptor = os.open(work, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderError(
                "A folder must be built by one process at a time. Received: "
                f"{path}, which another process is building. Wait for it, or "
                "choose another path."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(path: pathlib.Path) -> None:
    for leftover in path.parent.iterdir():
        if leftover.name.startswith(f".{path.name}{TEMPORARY_MARK}"):
            shutil.rmtree(leftover, ignore_errors=True)


def _read_plan(work: pathlib.Path) -> Any:
    try:
        return json.loads((work / _PLAN_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _restart(work: pathlib.Path, plan: dict[str, Any] | None) -> None:
    for file in work.iterdir():
        file.unlink()
    temporary = work / "plan.tmp"
    temporary.write_text(json.dumps(plan), encoding="utf-8")
    temporary.rename(work / _PLAN_NAME)
