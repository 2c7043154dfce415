import numpy as np
import pytest

from realm_tf.checkpoints.files.tensor_file import (
    JoinedTensorFile,
    RenamedTensorFile,
    TensorFile,
)
from realm_tf.errors import CheckpointError


class Given(TensorFile):
    def __init__(self, **arrays):
        super().__init__("given")
        self.arrays = arrays
        self.shapes = {name: value.shape for name, value in arrays.items()}

    def read(self, name):
        return self.arrays[name]

    def _read_rows(self, name, start, stop):
        return self.arrays[name][start:stop]


def test_files_are_joined(tmp_path):
    joined = JoinedTensorFile(
        tmp_path, [Given(a=np.arange(3)), Given(b=np.arange(5))]
    )
    assert joined.shapes == {"a": (3,), "b": (5,)}
    assert joined.read("a").tolist() == [0, 1, 2]
    assert [x.tolist() for x in joined.rows("b", 3)] == [[0, 1, 2], [3, 4]]


def test_a_name_in_two_files_is_refused(tmp_path):
    files = [Given(a=np.arange(3)), Given(a=np.arange(3))]
    with pytest.raises(CheckpointError, match="a in two of its files"):
        JoinedTensorFile(tmp_path, files)


def test_arrays_are_renamed():
    file = RenamedTensorFile(Given(a=np.arange(3), b=np.ones(2)), {"a": "c"})
    assert file.shapes == {"c": (3,), "b": (2,)}
    assert file.read("c").tolist() == [0, 1, 2]
    assert next(file.rows("c", 2)).tolist() == [0, 1]


def test_two_names_for_one_array_are_refused():
    file = Given(a=np.arange(3), b=np.ones(2))
    with pytest.raises(CheckpointError, match="Received: b beside a"):
        RenamedTensorFile(file, {"b": "a"})
