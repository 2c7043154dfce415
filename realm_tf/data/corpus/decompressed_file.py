"""Files that may be compressed, read in bounded memory."""

import bz2
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

# A line is one document; English Wikipedia's longest is under 1 MB.
MAX_LINE_BYTES = 64 * 2**20
# Text compresses three to ten times; a bomb of zeros, a thousand times.
MAX_COMPRESSION_RATIO = 200
# Short files of equal lines compress far better and harm nobody.
_UNGUARDED_BYTES = 16 * 2**20
# The uncompressed dump of English Wikipedia has a tenth of this.
MAX_DECOMPRESSED_BYTES = 2**40
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
}


class DecompressedFile:
    """The plain bytes of a file that may be compressed with gzip or bzip2.

    Compression is recognised by the first bytes, not by the name.

    Args:
        path: file to open. Use the object in a `with` statement.

    Raises:
        ValueError: while reading, if the compressed data are damaged, or
            decompress without bound.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._file: IO[bytes] = open(self.path, "rb")
        start = self._file.read(4)
        self._file.seek(0)
        self._plain: Any = self._file
        for magic, opener in _OPENERS.items():
            if start.startswith(magic):
                self._plain = opener(self._file)

    def __enter__(self) -> "DecompressedFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self._plain.close()
        self._file.close()

    @property
    def bytes_read(self) -> int:
        """Number of bytes read of the (compressed) file on the disk."""
        return self._file.tell()

    def read(self, num_bytes: int) -> bytes:
        """The next bytes, fewer than `num_bytes` only at the end."""
        return self._guarded(self._plain.read, num_bytes)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines with their line ends; the first is 1.

        A byte-order mark at the start is dropped. A line that is too long
        comes out cut, but longer than `MAX_LINE_BYTES`.
        """
        number = 0
        while line := self._guarded(self._plain.readline, MAX_LINE_BYTES + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            yield number, line
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = self._guarded(self._plain.readline, MAX_LINE_BYTES + 1)

    def _guarded(self, read: Any, limit: int) -> bytes:
        try:
            data = read(limit)
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk failed, not the data
            raise ValueError(
                f"{self.path} is damaged after {self.bytes_read} bytes "
                f"({error}). Copy the file again."
            ) from error
        if self._plain is not self._file:
            self._check_size(self._plain.tell(), self._file.tell())
        return data

    def _check_size(self, num_plain: int, num_compressed: int) -> None:
        allowed = max(MAX_COMPRESSION_RATIO * num_compressed, _UNGUARDED_BYTES)
        if num_plain > min(allowed, MAX_DECOMPRESSED_BYTES):
            raise ValueError(
                "Compressed data must not grow more than "
                f"{MAX_COMPRESSION_RATIO}-fold, or beyond "
                f"{MAX_DECOMPRESSED_BYTES} bytes. Received: {num_plain} bytes "
                f"out of {num_compressed} of {self.path}. Decompress the file "
                "first if you trust it."
            )
