"""Journal: an append-only file whose records are durable once appended.

    header: magic, committed bytes, number of records, CRC-32 of these three
    record: length of the payload, CRC-32 of the payload, payload

A record counts from the moment the header says so. What a killed writer left
behind the committed bytes does not exist for readers, and the next writer cuts
it off; anything missing or changed before it is damage.
"""

import os
import pathlib
import struct
import zlib

from realm_tf._files import explain_full_disk, sync
from realm_tf.errors import FolderError

_MAGIC = b"RTFJRNL1"
_HEADER = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")
_RECORD = struct.Struct("<II")
_START = _HEADER.size + _CRC.size


class Journal:
    """Reads and appends records of bytes.

    Several processes may read; the caller sees to it that one writes.

    Args:
        path: file made by `Journal.create`.

    Raises:
        FolderError: if the file is missing or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self._position = _START  # bytes read so far
        self._num_records = 0
        self._committed()

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "Journal":
        """Writes an empty journal."""
        path = pathlib.Path(path)
        path.write_bytes(_header(_START, 0))
        sync(path)
        return cls(path)

    def read(self) -> list[bytes]:
        """Returns the records that were committed since the last call.

        Raises:
            FolderError: if the file is damaged.
        """
        end, num_records = self._committed()
        with open(self.path, "rb") as file:
            file.seek(self._position)
            data = file.read(end - self._position)
        records, start = [], 0
        while start < len(data):
            payload = _payload(data, start)
            if payload is None:
                raise self._damaged(f"bad record at {self._position + start}")
            records.append(payload)
            start += _RECORD.size + len(payload)
        if self._num_records + len(records) != num_records:
            raise self._damaged(f"{len(records)} new records")
        self._position, self._num_records = end, num_records
        return records

    def append(self, payload: bytes) -> None:
        """Appends a record and waits until it is on the disk.

        The journal must have been read to its end.

        Raises:
            OSError: if it cannot be written; the journal is unchanged then.
        """
        record = _RECORD.pack(len(payload), zlib.crc32(payload)) + payload
        advice = (
            f"An update of {len(record):,} bytes was not written; the index "
            "is unchanged. Free some space and retry."
        )
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            with explain_full_disk(self.path, advice):
                self._append(descriptor, record)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, record: bytes) -> None:
        try:
            os.ftruncate(descriptor, self._position)
            _write(descriptor, record, self._position)
            os.fsync(descriptor)
            end = self._position + len(record)
            os.pwrite(descriptor, _header(end, self._num_records + 1), 0)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._position)
            raise
        self._position, self._num_records = end, self._num_records + 1

    def _committed(self) -> tuple[int, int]:
        """End of the committed bytes, and number of committed records."""
        try:
            with open(self.path, "rb") as file:
                header = file.read(_START)
            size = self.path.stat().st_size
        except FileNotFoundError as error:
            raise self._damaged("no file") from error
        if len(header) < _START:
            raise self._damaged(f"{len(header)} bytes")
        magic, end, num_records = _HEADER.unpack_from(header)
        if magic != _MAGIC or header != _header(end, num_records):
            raise self._damaged("a bad header")
        if size < end:
            raise self._damaged(f"{size} bytes, of {end}")
        return end, num_records

    def _damaged(self, found: str) -> FolderError:
        return FolderError(
            f"{self.path} must hold the updates of the index version beside "
            f"it. Received: {found}. Copy the index again, or roll back with "
            "`BlockIndex.roll_back`."
        )


def _header(end: int, num_records: int) -> bytes:
    fields = _HEADER.pack(_MAGIC, end, num_records)
    return fields + _CRC.pack(zlib.crc32(fields))


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
