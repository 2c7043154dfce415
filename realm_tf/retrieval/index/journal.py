"""Journal: an append-only file whose records are durable once appended.

    header, twice, 512 bytes apart: magic, fingerprint of the index version,
        committed bytes, number of records, CRC-32 of these four
    record: length of the payload, CRC-32 of the payload, payload

A record counts from the moment a header says so. What a killed or failed
writer left behind the committed bytes does not exist for readers; anything
missing or changed before it is damage. The second header keeps the file
readable where the write of the first one was torn.

SQLite was weighed: its pages have no checksums, its write-ahead log needs
files beside it that a copy of the index may miss and a read-only disk cannot
have, and it cannot say to which version it belongs without the same checks.
"""

import errno
import os
import pathlib
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from realm_tf._files import (
    OpenFile,
    full_disk_error,
    is_full_disk,
    replacing,
)
from realm_tf.errors import FolderError, MismatchError

_MAGIC = b"RTFJRNL2"
_HEADER = struct.Struct("<8s32sQQ")
_OLD_MAGIC = b"RTFJRNL1"  # one header, without a fingerprint
_OLD_HEADER = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")
_RECORD = struct.Struct("<II")
_HEADER_SIZE = _HEADER.size + _CRC.size
_SECTOR = 512  # which a disk writes whole or not at all
_START = 2 * _SECTOR


class Place(NamedTuple):
    """How much of a journal was read.

    Args:
        end: position behind the last record.
        num_records: number of records up to there.
    """

    end: int = 0
    num_records: int = 0


class Journal:
    """Reads and appends records of bytes.

    Several processes may read; the caller sees to it that one writes.

    Args:
        path: file made by `Journal.create`.
        belongs_to: fingerprint of the index version.
        accept_old: read the former format too, which does not say to which
            version it belongs.

    Raises:
        FolderError: if the file is missing, damaged or no regular file.
        MismatchError: if it belongs to another version.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        belongs_to: str,
        *,
        accept_old: bool = False,
    ):
        self.path = pathlib.Path(path)
        self._belongs_to = bytes.fromhex(belongs_to)
        self._accept_old = accept_old
        try:
            self._file = OpenFile(self.path)
        except FileNotFoundError as error:
            raise self._damaged("no file") from error
        self._start = _START
        self._committed()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        belongs_to: str,
        records: Iterable[bytes] = (),
    ) -> "Journal":
        """Writes a journal with some records, whole or not at all."""
        packed = [_pack(record) for record in records]
        place = Place(_START + sum(map(len, packed)), len(packed))
        with replacing(pathlib.Path(path)) as file:
            file.write(_header(bytes.fromhex(belongs_to), place))
            file.writelines(packed)
        return cls(path, belongs_to)

    def records(self) -> list[bytes]:
        """All records.

        Raises:
            FolderError: if the file is damaged.
        """
        return self.read(Place())[0]

    def has_news(self, place: Place) -> bool:
        """Whether there is more than was read; takes a microsecond."""
        return self._committed() != place

    def read(self, place: Place) -> tuple[list[bytes], Place]:
        """Reads what was committed since an earlier call.

        Args:
            place: what the earlier call returned; `Place()` for none.

        Returns:
            The records and the new place.

        Raises:
            FolderError: if the file is damaged.
        """
        committed = self._committed()
        if committed.end < place.end:
            raise self._damaged(f"{committed.end} bytes, after {place.end}")
        position = max(place.end, self._start)
        data = self._file.read(position, committed.end - position)
        records, start = [], 0
        while start < len(data):
            payload = _payload(data, start)
            if payload is None:
                raise self._damaged(f"bad record at {position + start}")
            records.append(payload)
            start += _RECORD.size + len(payload)
        if place.num_records + len(records) != committed.num_records:
            raise self._damaged(f"{len(records)} new records")
        return records, committed

    def append(self, payload: bytes) -> None:
        """Appends a record and waits until it is on the disk.

        Raises:
            OSError: if it cannot be written. The message says whether the
                journal is unchanged, or may hold the record. It can be read
                in any case.
        """
        record, end = _pack(payload), self._committed()
        place = Place(end.end + len(record), end.num_records + 1)
        is_confirming = False
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._file.check_is(descriptor)
                try:
                    _write(descriptor, record, end.end)
                    os.fsync(descriptor)
                except OSError:
                    _cut(descriptor, end.end)
                    raise
                is_confirming = True
                _write(descriptor, _header(self._belongs_to, place), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed(error, len(record), is_confirming) from error

    def _committed(self) -> Place:
        """What counts now: the newest of the headers that are whole."""
        data = self._file.read(0, _START)
        if data.startswith(_OLD_MAGIC):
            place = self._committed_of_old(data)
        else:
            found = (
                self._parse(data[start : start + _HEADER_SIZE])
                for start in (0, _SECTOR)
            )
            places = [place for place in found if place is not None]
            if not places:
                raise self._damaged(f"a bad header of {len(data)} bytes")
            place = max(places)
        size = self._file.size()
        if size < place.end:
            raise self._damaged(f"{size} bytes, of {place.end}")
        return place

    def _parse(self, data: bytes) -> Place | None:
        """Reads a header; None if it is torn or damaged."""
        if len(data) < _HEADER_SIZE:
            return None
        magic, belongs_to, *numbers = _HEADER.unpack_from(data)
        fields, crc = data[: _HEADER.size], data[_HEADER.size :]
        if magic != _MAGIC or crc != _CRC.pack(zlib.crc32(fields)):
            return None
        if belongs_to != self._belongs_to:
            raise MismatchError(
                f"{self.path} must hold the updates of the index version "
                f"beside it. Received: updates of {belongs_to.hex()[:16]}, "
                f"version {self._belongs_to.hex()[:16]}. Copy the whole index "
                "again."
            )
        return Place(*numbers)

    def _committed_of_old(self, data: bytes) -> Place:
        if not self._accept_old:
            raise FolderError(
                f"{self.path} must say to which index version it belongs. "
                "Received: the format of an earlier realm_tf. Write it anew "
                "with `realm-tf index rollback` to the same version."
            )
        _, *numbers = _OLD_HEADER.unpack_from(data.ljust(_START))
        fields = _OLD_HEADER.pack(_OLD_MAGIC, *numbers)
        self._start = len(fields) + _CRC.size
        if not data.startswith(fields + _CRC.pack(zlib.crc32(fields))):
            raise self._damaged("a bad header")
        return Place(*numbers)

    def _failed(
        self, error: OSError, num_bytes: int, is_confirming: bool
    ) -> OSError:
        code = error.errno or errno.EIO
        if is_confirming:
            return OSError(
                code,
                f"{self.path} may or may not hold the last update: the disk "
                f"failed while it was confirmed ({os.strerror(code)}). All "
                "earlier updates are there. Check the disk, then make the "
                "update again.",
            )
        advice = (
            f"An update of {num_bytes:,} bytes was not written; the index is "
            "unchanged."
        )
        if is_full_disk(error):
            return full_disk_error(
                self.path, f"{advice} Free some space and retry.", code
            )
        return OSError(
            code,
            f"{self.path} could not be written ({os.strerror(code)}). "
            f"{advice} Check the disk and retry.",
        )

    def _damaged(self, found: str) -> FolderError:
        return FolderError(
            f"{self.path} must hold the updates of the index version beside "
            f"it. Received: {found}. Copy the index again, or roll back with "
            "`BlockIndex.roll_back`."
        )


def _header(belongs_to: bytes, place: Place) -> bytes:
    fields = _HEADER.pack(_MAGIC, belongs_to, *place)
    return (fields + _CRC.pack(zlib.crc32(fields))).ljust(_SECTOR, b"\0") * 2


def _pack(payload: bytes) -> bytes:
    return _RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def _payload(data: bytes, start: int) -> bytes | None:
    """Payload of the record at `start`; None if it is damaged."""
    if len(data) < start + _RECORD.size:
        return None
    length, crc = _RECORD.unpack_from(data, start)
    payload = data[start + _RECORD.size : start + _RECORD.size + length]
    if len(payload) != length or zlib.crc32(payload) != crc:
        return None
    return payload


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Writes all of `data`; a single call may write a part."""
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written


def _cut(descriptor: int, end: int) -> None:
    """Frees the space of a record that failed, if that works."""
    try:
        os.ftruncate(descriptor, end)
    except OSError:
        pass  # nobody reads behind the committed bytes
