import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from realm_tf.checkpoints.files.safetensors_file import (
    SafetensorsFile,
    write_safetensors,
)
from realm_tf.errors import CheckpointError


def write_raw(path, header, data=b"", size=None):
    text = json.dumps(header).encode()
    length = len(text) if size is None else size
    path.write_bytes(struct.pack("<Q", length) + text + data)
    return path


def test_tensors_are_read_whole_and_in_rows(tmp_path):
    path = tmp_path / "a.safetensors"
    value = np.arange(10, dtype=np.float32).reshape(5, 2)
    empty = np.zeros((0, 3), np.float32)
    safetensors.numpy.save_file({"a": value, "b": empty}, path)
    file = SafetensorsFile(path)
    assert file.shapes == {"a": (5, 2), "b": (0, 3)}
    np.testing.assert_array_equal(file.read("a"), value)
    assert file.read("b").shape == (0, 3)
    np.testing.assert_array_equal(
        np.concatenate(list(file.rows("a", at_once=2))), value
    )


@pytest.mark.parametrize("size", [10 * 2**30, 2**63 - 1])
def test_a_header_of_10_gb_is_refused_before_it_is_allocated(tmp_path, size):
    path = write_raw(tmp_path / "a.safetensors", {}, size=size)
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        SafetensorsFile(path)


def test_overlapping_offsets_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [2]}
    header = {
        "a": entry | {"data_offsets": [0, 8]},
        "b": entry | {"data_offsets": [4, 12]},
    }
    path = write_raw(tmp_path / "a.safetensors", header, bytes(12))
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        SafetensorsFile(path)


def test_a_huge_shape_is_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}
    path = write_raw(tmp_path / "a.safetensors", {"a": entry}, bytes(8))
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        SafetensorsFile(path)


def test_every_cut_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"a": np.arange(3)}, path)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError):
            SafetensorsFile(path)


def test_a_written_file_may_be_read_as_any_other(tmp_path):
    (tmp_path / "other").touch()
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": np.arange(3)}, {"b": "c"})
    file = SafetensorsFile(path)
    np.testing.assert_array_equal(file.read("a"), np.arange(3))
    assert file.metadata == {"b": "c"}
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
