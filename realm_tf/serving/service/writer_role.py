"""WriterRole: which of the services of one index makes its changes."""

import contextlib
import json
import logging
import os
import pathlib
import socket
import threading

import filelock

from realm_tf._files import read_file, replace_file
from realm_tf.errors import FolderError, NotWriterError

logger = logging.getLogger(__name__)

LOCK_NAME = ".service.lock"
# Apart from the lock: to try a lock must not change what its holder says.
HOLDER_NAME = ".service.json"
_MOST_BYTES = 4096
WRITER, WAITING, READER = "writer", "waiting", "reader"


class WriterRole:
    """Held by one service at a time, from its first chance to its end.

    The operating system frees the lock of a process that dies, and the next
    service that looks takes the role over. No clock is compared. Each change
    takes the writer lock of the index besides, which commands take as well.

    May be used by many threads.

    Args:
        folder: the index folder.
        url: where clients reach this service, for the errors of others.
        is_reader: never take the role.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        url: str | None = None,
        is_reader: bool = False,
    ):
        self._folder = pathlib.Path(folder)
        self._url = url
        self._is_reader = is_reader
        self._mutex = threading.Lock()
        self._lock = filelock.FileLock(
            self._folder / LOCK_NAME,
            fallback_to_soft=False,
            thread_local=False,  # one thread takes it, another gives it back
        )

    @property
    def name(self) -> str:
        """The role now: "writer", "waiting" for it, or "reader"."""
        if self._is_reader:
            return READER
        return WRITER if self._lock.is_locked else WAITING

    def take(self) -> bool:
        """Takes the role if it is free; whether it is held.

        Raises:
            OSError: if the folder cannot be written.
        """
        if self._is_reader or not self._folder.is_dir():
            return False
        with self._mutex:
            if self._lock.is_locked:
                return True
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                return False
            try:
                self._say()
            except OSError:
                self._lock.release()
                raise
        logger.info("The service is the writer of %s.", self._folder)
        return True

    def require(self) -> None:
        """Takes the role, or says who has it.

        Raises:
            NotWriterError: if another service has it, or this is a reader.
            OSError: if the folder cannot be written.
        """
        if self.take():
            return
        holder = self._holder()
        url = holder.get("url")
        if url:
            advice = f"Send changes to the writer, {url}."
        elif holder:
            advice = (
                f"Send changes to the writer, process {holder.get('pid')} on "
                f"{holder.get('host')}."
            )
        else:
            advice = "No service said that it is the writer: start one."
        raise NotWriterError(
            f"This service reads the index, and does not change it. {advice}",
            url,
        )

    def give_back(self) -> None:
        """Lets another service take the role."""
        with self._mutex:
            if self._lock.is_locked:
                with contextlib.suppress(OSError):  # it is a text for errors
                    (self._folder / HOLDER_NAME).unlink()
                self._lock.release()

    def _say(self) -> None:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "url": self._url,
        }
        replace_file(self._folder / HOLDER_NAME, json.dumps(holder))

    def _holder(self) -> dict[str, str]:
        """What the last holder said; empty if none did."""
        try:
            data = read_file(self._folder / HOLDER_NAME, _MOST_BYTES)
            holder = json.loads(data)
        except (OSError, FolderError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}
