"""The header of a .npy file, read before anything is allocated for it."""

from typing import Any

import numpy as np


def read_npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the header, up to the first byte of the array.

    Args:
        file: binary file, at its start.

    Returns:
        Shape and dtype, as declared.

    Raises:
        ValueError: if it is no header of NumPy's.
    """
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype
