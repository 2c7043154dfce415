"""Every exception of the library; all are kinds of `RealmError`.

Wrong arguments raise Python's `ValueError` or `TypeError`.
"""


class RealmError(Exception):
    """Base of all exceptions that the library defines."""


class FolderError(RealmError, ValueError):
    """A folder is missing, incomplete, damaged or of another kind."""


class MismatchError(RealmError, ValueError):
    """Two folders, or a folder and a model, do not belong together."""


class BadRecordError(RealmError, ValueError):
    """A line of a file is not a valid record.

    Args:
        path: str. The file.
        line: int. Number of the line; the first is 1.
        problem: str. What must hold and what was received.
        advice: str. What to do.
    """

    def __init__(self, path: str, line: int, problem: str, advice: str):
        super().__init__(f"{problem} File: {path}, line {line}. {advice}")
        self.path = path
        self.line = line


class CheckpointError(RealmError, ValueError):
    """A checkpoint is damaged, unsafe, or of another layout."""


class UnsafePickleError(RealmError, ValueError):
    """A pickle asks for more than plain values, or is damaged."""


class LockedError(RealmError, RuntimeError):
    """Another writer is at work in the folder."""


class ScannBuildError(RealmError, RuntimeError):
    """The process that builds a ScaNN index failed."""


class ResourceError(RealmError, RuntimeError):
    """A task needs more memory or disk than the machine has."""


class RecallError(RealmError, RuntimeError):
    """An approximate index finds too little of the exact result."""


class PipelineError(RealmError, RuntimeError):
    """A pipeline of Apache Beam failed."""


class UnknownDocumentError(RealmError, KeyError):
    """A document to delete does not exist."""

    def __str__(self) -> str:  # KeyError would show the text in quotes
        return str(self.args[0])


class UnknownVersionError(FolderError):
    """The index has no such version."""


class ExportError(RealmError, RuntimeError):
    """An exported model does not fit its server."""


class BackendError(RealmError, RuntimeError):
    """The models cannot be reached, are too slow, or answered nonsense."""


class BackendFullError(BackendError):
    """A model server takes no more calls for now; nothing is wrong with it."""


class ServiceUnavailableError(RealmError, RuntimeError):
    """The service cannot answer now, and may later.

    Args:
        message: why.
        retry_after: seconds to wait before the next try.
    """

    def __init__(self, message: str, retry_after: float = 1.0):
        super().__init__(message)
        self.retry_after = retry_after


class NotWriterError(RealmError, RuntimeError):
    """The service reads an index whose changes another service makes.

    Args:
        message: why, and where to send changes.
        writer: URL of the service that makes them, if it is known.
    """

    def __init__(self, message: str, writer: str | None = None):
        super().__init__(message)
        self.writer = writer


class GivenUpError(ServiceUnavailableError):
    """The client left before the work began, so nothing was done."""


class BadRequestError(RealmError, ValueError):
    """A request is not of the form that the service takes."""


class TooLargeError(BadRequestError):
    """A request is well formed, but larger than the service takes."""
