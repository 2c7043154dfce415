"""Arrays of an .npz file, checked before memory is allocated."""

import math
import os
import pathlib
import zipfile

import numpy as np

from realm_tf._files import read_npy_header


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a file that `np.savez` wrote.

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is something else: cut, compressed, with pickled
            objects, or with an array of another size than its shape says.
    """
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check(archive, entry, path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} must hold whole arrays of numbers, not compressed. "
            f"Received: {error}. Copy it again, or write it again."
        ) from error


def _check(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, num_bytes: int
) -> None:
    name = entry.filename
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    if entry.file_size > num_bytes:
        raise ValueError(f"{name} would have {entry.file_size} bytes")
    with archive.open(entry) as file:
        shape, dtype = read_npy_header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or size != entry.file_size - file.tell():
            raise ValueError(f"{name} is of {dtype} and shape {shape}")
