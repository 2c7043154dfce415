"""TensorFile: named arrays on the disk, read one at a time."""

import abc
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from realm_tf.errors import CheckpointError

ROWS_AT_ONCE = 2**16


class TensorFile(abc.ABC):
    """Named arrays of a checkpoint, read one by one.

    Args:
        path: what error messages name.

    Attributes:
        shapes: shape of each array.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.shapes: dict[str, tuple[int, ...]] = {}

    @abc.abstractmethod
    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            CheckpointError: if it is damaged.
        """

    @abc.abstractmethod
    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of one array."""

    def rows(self, name: str, at_once: int = ROWS_AT_ONCE) -> Iterator:
        """Rows of one array in chunks, so that memory does not grow with it."""
        num_rows = self.shapes[name][0]
        for start in range(0, num_rows, at_once):
            yield self._read_rows(name, start, min(start + at_once, num_rows))

    def damaged(self, problem: object) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(
            f"{self.path} must be a whole checkpoint. Received: {problem}. "
            "Download it again from its publisher."
        )


class JoinedTensorFile(TensorFile):
    """Several files with arrays of different names, as one.

    Raises:
        CheckpointError: if two of them hold an array of the same name.
    """

    def __init__(self, path: pathlib.Path, files: list[TensorFile]):
        super().__init__(path)
        self._home: dict[str, TensorFile] = {}
        for file in files:
            for name, shape in file.shapes.items():
                if name in self._home:
                    raise self.damaged(f"{name} in two of its files")
                self._home[name] = file
                self.shapes[name] = shape

    def read(self, name: str) -> np.ndarray:
        return self._home[name].read(name)

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return self._home[name]._read_rows(name, start, stop)


class RenamedTensorFile(TensorFile):
    """A file whose arrays have other names.

    Args:
        file: `TensorFile`.
        new_names: old name -> new name; the others keep their names.

    Raises:
        CheckpointError: if two arrays would have one name.
    """

    def __init__(self, file: TensorFile, new_names: dict[str, str]):
        super().__init__(file.path)
        self._file = file
        self._old: dict[str, str] = {}
        for old in file.shapes:
            new = new_names.get(old, old)
            if new in self._old:
                raise self.damaged(f"{old} beside {self._old[new]}")
            self._old[new] = old
        self.shapes = {new: file.shapes[old] for new, old in self._old.items()}

    def read(self, name: str) -> np.ndarray:
        return self._file.read(self._old[name])

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return self._file._read_rows(self._old[name], start, stop)
