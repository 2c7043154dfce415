import zipfile

import numpy as np
import pytest

from realm_tf.checkpoints.files.npz_file import read_npz

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(7), "c": np.ones(0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


def lie(path, shape, dtype="<f4"):
    """An array with 8 bytes that says it has another shape."""
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("0.npy", "w") as file:
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(8))


def test_arrays_are_read(path):
    np.savez(path, **ARRAYS)
    arrays = read_npz(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


@pytest.mark.parametrize("shape", [(10**12,), (10**9, 10**9), (3,), (1,)])
def test_d13_another_size_than_the_shape_says_is_refused(path, shape):
    lie(path, shape)
    with pytest.raises(ValueError, match=r"0\.npy is of float32 and shape"):
        read_npz(path)


def test_d13_size_beyond_the_file_is_refused(path):
    lie(path, (10**9,))
    data = path.read_bytes()
    size = zipfile.ZipFile(path).getinfo("0.npy").file_size
    path.write_bytes(
        data.replace(size.to_bytes(4, "little"), b"\0\0\0\x70")  # 1.8 GB
    )
    with pytest.raises(ValueError, match="would have 1879048192 bytes"):
        read_npz(path)


def test_d9_compressed_arrays_are_refused(path):
    np.savez_compressed(path, a=np.zeros(10**6))
    with pytest.raises(ValueError, match=r"a\.npy is compressed"):
        read_npz(path)


def test_d11_objects_are_refused(path):
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"a\.npy is of object"):
        read_npz(path)


def test_every_cut_is_refused(path):
    np.savez(path, **ARRAYS)
    data = path.read_bytes()
    for end in range(0, len(data), 41):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"weights\.npz must hold whole"):
            read_npz(path)


def test_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_npz(path)
