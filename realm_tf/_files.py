"""Files that appear whole, folders with one writer, arrays that are checked."""

import contextlib
import ctypes
import errno
import io
import json
import os
import pathlib
import shutil
import socket
import stat
import tokenize
import uuid
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import filelock

from realm_tf.errors import FolderError, LockedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# NumPy is imported where it is needed: commands start without it.

TEMPORARY_MARK = ".writing-"
LOCK_NAME = ".writer.lock"
_POLL_SECONDS = 0.02
# Arrays up to this size are copied into memory, so that nothing that happens
# to their files can harm the process.
_SMALL_BYTES = 16 * 2**20
_AT_FDCWD = -100  # of Linux: paths are those of the process
_RENAME_EXCHANGE = 2
_NO_SPACE = {
    errno.ENOSPC: "No space left",
    errno.EFBIG: "File too large",
    errno.EDQUOT: "Disk quota exceeded",
}


class OpenFile:
    """A file that stays open, whatever happens to its name.

    Args:
        path: must be a regular file: others may block, or never end.

    Raises:
        FileNotFoundError: if there is none.
        FolderError: if it is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        # Opening a pipe waits for its writer without O_NONBLOCK.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self.descriptor = os.open(self.path, flags)
        self.close = weakref.finalize(self, os.close, self.descriptor)
        self.at_first = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.at_first.st_mode):
            self.close()
            kind = stat.filemode(self.at_first.st_mode)
            raise FolderError(
                f"{self.path} must be a regular file. Received: a folder, "
                f"pipe, socket or device ({kind}). Copy the folder again, or "
                "take it from a source you trust."
            )

    def size(self) -> int:
        """Current size in bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, start: int, size: int) -> bytes:
        """Bytes from `start` on; fewer at the end of the file."""
        size = min(size, self.size() - start)  # room is made for all of it
        parts = []
        while size > 0 and (part := os.pread(self.descriptor, size, start)):
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)

    def reader(self) -> io.BufferedReader:
        """A file object of its own, at the start."""
        file = os.fdopen(os.dup(self.descriptor), "rb")
        file.seek(0)
        return file

    @contextlib.contextmanager
    def name(self) -> Iterator[str]:
        """A name by which another library can open this very file.

        Raises:
            FolderError: if it would have opened another one.
        """
        link = f"/proc/self/fd/{self.descriptor}"
        if os.path.exists(link):
            yield link
            return
        yield str(self.path)  # no Linux
        other = OpenFile(self.path)
        self.check_is(other.descriptor)

    def check_is(self, descriptor: int) -> None:
        """Checks that a descriptor is of the same file.

        Raises:
            FolderError: if the file was replaced by another one.
        """
        if not os.path.samestat(os.fstat(descriptor), self.at_first):
            raise self._changed("another file")

    def check_unchanged(self) -> None:
        """Checks that nobody has written into the file since it was opened.

        Raises:
            FolderError: if so.
        """
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (
            self.at_first.st_size,
            self.at_first.st_mtime_ns,
        ):
            raise self._changed(
                f"{now.st_size} bytes, {self.at_first.st_size} at first"
            )

    def _changed(self, found: str) -> FolderError:
        return FolderError(
            f"{self.path} must not be changed while it is open. Received: "
            f"{found}. Open it again. Write a new folder and rename it, in "
            "place of writing into one that is in use."
        )


def read_file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Reads a small regular file.

    Raises:
        FileNotFoundError: if there is none.
        FolderError: if it is no regular file, or too large.
    """
    file = OpenFile(path)
    try:
        data = file.read(0, max_bytes + 1)
    finally:
        file.close()
    if len(data) > max_bytes:
        raise FolderError(
            f"{path} must have at most {max_bytes} bytes. Received: more. "
            "Take the folder from a source you trust."
        )
    return data


def temporary_name(path: pathlib.Path) -> pathlib.Path:
    """A new hidden path beside `path`, for its replacement."""
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.name}{TEMPORARY_MARK}{unique}")


def remove_leftover(path: pathlib.Path) -> None:
    """Removes a file or folder of a killed writer, if that works."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Writes a file whole or not at all.

    Args:
        path: the file; readers see the old one until the body ends.

    Yields:
        Binary file to write.
    """
    temporary = temporary_name(path)
    try:
        with naming(path), open(temporary, "wb") as file:
            yield file
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: pathlib.Path, text: str) -> None:
    """Writes a file of UTF-8; readers see the old one or the new one."""
    with replacing(path) as file:
        file.write(text.encode())


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or the list of files of a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_folder(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a folder; its files are on the disk afterwards.

    Args:
        source: the folder.
        target: must not exist.

    Raises:
        OSError: naming the first file that cannot be copied.
    """
    for parent, _, names in os.walk(source):
        here = target / pathlib.Path(parent).relative_to(source)
        here.mkdir(parents=True)
        for name in names:
            with naming(here / name):
                shutil.copyfile(os.path.join(parent, name), here / name)
            sync(here / name)
        sync(here)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Adds the file to errors of writing, which do not name it."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename or str(path) in str(error):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Gives two files or folders each other's name, at once.

    Returns:
        False, and changes nothing, where the system or the file system cannot.

    Raises:
        OSError: if it can, but failed.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # no Linux
        return False
    names = os.fsencode(one), os.fsencode(other)
    if not rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


@contextlib.contextmanager
def writer_lock(
    folder: str | os.PathLike[str], *, timeout: float = 0.0
) -> Iterator[None]:
    """Holds the right to write into `folder`.

    The operating system releases the lock of a process that dies. What the
    file says is for the error message only.

    Args:
        folder: created if it does not exist.
        timeout: seconds to wait for another writer to finish.

    Raises:
        LockedError: naming the writer that holds the lock.
        OSError: if the folder cannot be written.
    """
    path = pathlib.Path(folder) / LOCK_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(
        path, poll_interval=_POLL_SECONDS, fallback_to_soft=False
    )
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout as error:
        raise LockedError(
            f"{path.parent} is being written by {_holder(path)}, and takes "
            "one writer at a time. Wait for it to finish, or stop it."
        ) from error
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        path.write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: pathlib.Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):  # it has not written yet
        return "a process that has just started"


@contextlib.contextmanager
def explain_full_disk(path: pathlib.Path, advice: str) -> Iterator[None]:
    """Text for a full disk: size needed, size free, and what to do.

    Args:
        path: what is being written.
        advice: sentence about what was kept, and what to do.

    Raises:
        OSError: see `full_disk_error`.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _full_disk_code(error)
        if code is None:
            raise
        raise full_disk_error(path, advice, code) from error


def is_full_disk(error: OSError | RuntimeError) -> bool:
    """Whether an error is that of a full disk."""
    return _full_disk_code(error) is not None


def full_disk_error(
    path: pathlib.Path, advice: str, code: int = errno.ENOSPC
) -> OSError:
    """The error for a full disk; see `explain_full_disk`."""
    return OSError(
        code,
        f"{path} does not fit on the disk: {free_bytes(path):,} bytes are "
        f"free ({os.strerror(code)}). {advice}",
    )


def check_disk_space(path: str | os.PathLike[str], num_bytes: int) -> None:
    """Refuses to start a write that the disk has no room for.

    Args:
        path: file or folder that will be written.
        num_bytes: how large it will be.

    Raises:
        OSError: with what is needed and what is free.
    """
    path = pathlib.Path(path)
    if num_bytes > free_bytes(path):
        raise full_disk_error(
            path,
            f"It needs {num_bytes:,}. Free some space, or choose another disk.",
        )


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Free space of the disk that `path` is on, or would be."""
    path = pathlib.Path(os.path.realpath(path))
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _full_disk_code(error: OSError | RuntimeError) -> int | None:
    if isinstance(error, OSError):
        return error.errno if error.errno in _NO_SPACE else None
    # ArrayRecord reports a full disk in words only.
    known = (code for code, text in _NO_SPACE.items() if text in str(error))
    return next(known, None)


def read_npy_header(file: Any) -> tuple[tuple[int, ...], "np.dtype"]:
    """Reads the header of a .npy file, up to the first byte of the array.

    Args:
        file: binary file, at its start.

    Returns:
        Shape and dtype, as declared.

    Raises:
        ValueError: if it is no header of NumPy's.
    """
    shape, _, dtype = _read_npy_header(file)
    return shape, dtype


def _read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, "np.dtype"]:
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    try:
        return read(file)
    except (tokenize.TokenError, SyntaxError, RecursionError) as error:
        # NumPy's own reader of headers that Python 2 wrote.
        raise ValueError(f"a header that is none ({error})") from error


def write_npy_header(
    file: BinaryIO, dtype: "npt.DTypeLike", shape: tuple[int, ...]
) -> None:
    """Begins a .npy file whose array is written part by part.

    A memory map would turn a full disk into SIGBUS; `file.write` raises.
    """
    import numpy as np

    header = {
        "descr": np.dtype(dtype).str,
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def open_npy(
    source: "pathlib.Path | OpenFile",
    dtypes: str,
    shape: tuple[int, ...],
    advice: str,
) -> "np.ndarray":
    """Maps an array into memory after a check of its type and shape.

    A small one is copied. Before a large one is used, its file should be
    checked with `OpenFile.check_unchanged`.

    Args:
        source: the .npy file.
        dtypes: allowed types, such as `"<u2 <u4"`.
        shape: the array must have.
        advice: sentence for the error, about what to do.

    Returns:
        Read-only array.

    Raises:
        FolderError: if the file is missing, damaged or another array.
    """
    import numpy as np

    path = source.path if isinstance(source, OpenFile) else source
    expected = f"an array of type {dtypes} and shape {shape}"
    try:
        opened = source if isinstance(source, OpenFile) else OpenFile(source)
        with opened.reader() as file:
            found, is_fortran, dtype = _read_npy_header(file)
            if dtype.str not in dtypes.split() or found != shape:
                raise FolderError(
                    f"{path} must hold {expected}. Received: type {dtype.str} "
                    f"and shape {found}. {advice}"
                )
            array: np.ndarray = np.memmap(
                file,
                dtype,
                "r",
                offset=file.tell(),
                shape=shape,
                order="F" if is_fortran else "C",
            )
    except FolderError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise FolderError(
            f"{path} must hold {expected}. Received: {error}. {advice}"
        ) from error
    if array.nbytes <= _SMALL_BYTES:
        array = np.array(array)
        array.flags.writeable = False
    return np.asarray(array)
