"""Arrays of a `.safetensors` file."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import save_file

from realm_tf.checkpoints.files.tensor_file import TensorFile

# The library refuses headers above 100 MB, overlapping offsets and sizes that
# do not add up, before it allocates anything.


class SafetensorsFile(TensorFile):
    """Arrays of a `.safetensors` file, mapped into memory.

    Args:
        path: the file.

    Raises:
        CheckpointError: if its header does not describe it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        try:
            self._file: Any = safetensors.safe_open(
                os.fspath(path), framework="numpy"
            )
        except (safetensors.SafetensorError, OSError) as error:
            raise self.damaged(error) from error
        for name in self._file.keys():  # noqa: SIM118
            self.shapes[name] = tuple(self._file.get_slice(name).get_shape())

    @property
    def metadata(self) -> dict[str, str]:
        """Texts that its header holds."""
        return self._file.metadata() or {}

    def read(self, name: str) -> np.ndarray:
        return self._file.get_tensor(name)

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return self._file.get_slice(name)[start:stop]


def write_safetensors(
    path: pathlib.Path,
    tensors: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str],
) -> None:
    """Writes a new file that others may read as any other new file.

    The library's own files are for their owner alone.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, dict(metadata))
    path.chmod(mode)
