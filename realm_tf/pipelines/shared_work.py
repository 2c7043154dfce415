"""The work folder of a pipeline, on a disk that all workers share."""

import contextlib
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

from apache_beam.metrics import Metrics

from realm_tf import _manifest
from realm_tf._files import explain_full_disk
from realm_tf.data.corpus.work_folder import open_work_folder, work_path
from realm_tf.errors import FolderError


class SharedWork:
    """Where the workers of a pipeline leave what the last step joins.

    A step that is retried writes the same file again. Pipelines of different
    plans have different folders: a worker that a stopped pipeline has left
    behind cannot write into those of a later one.

    Args:
        path: the folder to be built.
        plan: JSON value. Everything that decides the parts.

    Attributes:
        folder: where parts go.
    """

    def __init__(self, path: pathlib.Path, plan: dict[str, Any]):
        digest = _manifest.json_sha256(plan)
        self.path = path
        self.folder = work_path(path) / f"plan-{digest[:16]}"
        self._plan = {"pipeline": digest}
        self._is_held = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other writers out while this process runs the pipeline.

        Raises:
            FolderError: if `path` exists.
            LockedError: if another process is building it.
        """
        with open_work_folder(self.path, self._plan):
            self._is_held = True
            try:
                yield
            finally:
                self._is_held = False

    @contextlib.contextmanager
    def opened(self, *, keep: bool) -> Iterator[None]:
        """The first or the last step, which no other writer may disturb.

        Args:
            keep: leave the work folder for the steps that follow.

        Raises:
            FolderError: if `path` exists.
            LockedError: if another process is building it.
        """
        with contextlib.ExitStack() as stack:
            if not self._is_held:
                stack.enter_context(
                    open_work_folder(self.path, self._plan, keep=keep)
                )
            self.folder.mkdir(exist_ok=True)
            with self.working():
                yield

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A step on one worker.

        Raises:
            FolderError: if the worker does not see the work folder.
            OSError: if the disk is full.
        """
        host = socket.gethostname()
        if not self.folder.is_dir():
            raise FolderError(
                f"{self.folder} must be seen by every worker until the "
                f"pipeline ends. Received: nothing there on {host}. Take a "
                "folder that all workers share, and start one pipeline at a "
                "time for it."
            )
        advice = (
            f"Free some space for {host} and start the same pipeline again to "
            "resume."
        )
        with explain_full_disk(self.folder, advice):
            yield


def count(name: str, number: int) -> None:
    """Adds to a counter of the pipeline."""
    Metrics.counter("realm_tf", name).inc(number)
