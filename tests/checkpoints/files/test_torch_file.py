import os
import pickle
import zipfile

import numpy as np
import pytest

from realm_tf.checkpoints.files.torch_file import TorchFile
from realm_tf.errors import CheckpointError, UnsafePickleError

TENSORS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.array([3, 1, 2]),
    "empty": np.zeros((0, 2), np.float32),
    "scalar": np.array(2.5, np.float32),
}


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_tensors_are_read(release, tmp_path, kind):
    path = tmp_path / "a.bin"
    release.write_torch(path, TENSORS, kind)
    file = TorchFile(path)
    assert file.shapes == {n: v.shape for n, v in TENSORS.items()}
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(file.read(name), value)
    rows = list(file.rows("a", at_once=2))
    assert [len(part) for part in rows] == [2, 1]
    np.testing.assert_array_equal(np.concatenate(rows), TENSORS["a"])


def test_what_is_read_cannot_be_written(release, tmp_path):
    release.write_torch(tmp_path / "a.bin", TENSORS)
    with pytest.raises(ValueError, match="read-only"):
        TorchFile(tmp_path / "a.bin").read("a")[0] = 1


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_a_malicious_file_is_never_executed(tmp_path, kind):
    path, mark = tmp_path / "a.bin", tmp_path / "ran"
    evil = pickle.dumps({"a": Malicious(mark)}, 2)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", evil)
    else:
        head = [0x1950A86A20F9469CFC6C, 1001, {}] if kind == "legacy" else []
        path.write_bytes(b"".join(pickle.dumps(x, 2) for x in head) + evil)
    with pytest.raises((UnsafePickleError, CheckpointError), match="not run"):
        TorchFile(path)
    assert not mark.exists()


def test_every_cut_is_refused(release, tmp_path):
    for kind in ("zip", "legacy"):
        path = tmp_path / kind
        release.write_torch(path, TENSORS, kind)
        data = path.read_bytes()
        for end in range(0, len(data), 61):
            path.write_bytes(data[:end])
            with pytest.raises((CheckpointError, UnsafePickleError)):
                TorchFile(path)


def test_a_shape_beyond_the_storage_is_refused(release, tmp_path):
    path = tmp_path / "a.bin"
    small = {"a": np.zeros(2, np.float32)}
    huge = {"a": np.broadcast_to(np.float32(0), (1,))}
    content = release.torch_pickle(small, {"a": "0"})
    claimed = content.replace(
        b"\x8a\x08\x02" + bytes(7), b"\x8a\x08" + (2**40).to_bytes(8, "little")
    )
    assert claimed != content and huge
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", claimed)
        archive.writestr("archive/data/0", bytes(8))
    with pytest.raises(CheckpointError, match="more than the 8 bytes"):
        TorchFile(path)


def test_a_huge_shape_with_strides_of_zero_is_refused(release, tmp_path):
    small = {"a": np.zeros(2, np.float32)}
    content = release.torch_pickle(small, {"a": "0"})

    def number(n):
        return b"\x8a\x08" + n.to_bytes(8, "little")

    shape, strides = (b"(" + number(n) + b"t" for n in (2, 1))
    claimed = content.replace(
        shape + strides, b"(" + number(2**40) + b"t(" + number(0) + b"t"
    )
    assert claimed != content
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("archive/data.pkl", claimed)
        archive.writestr("archive/data/0", bytes(8))
    with pytest.raises(CheckpointError, match="more than the 8 bytes"):
        TorchFile(tmp_path / "a.bin")


# Sixty times a tuple of the tuple before, twice: 2^60 of them in the end.
DOUBLED = b"(t" + b"q\x00h\x00\x86" * 60


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + DOUBLED + b")R.",  # called
        b"\x80\x02" + DOUBLED + b"Q.",  # a persistent id
        b"\x80\x02}" + DOUBLED + b"K\x01s.",  # a key
        b"\x80\x04" + DOUBLED + b"h\x00\x93.",  # a name
        b"\x80\x02ccollections\nOrderedDict\n(((" + DOUBLED + b"K\x01tltR.",
        b"\x80\x02" + b"(t" + b"\x85" * 5_000 + b"Q.",
    ],
)
def test_values_of_any_size_are_refused_at_once(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("archive/data.pkl", content)
    with pytest.raises(UnsafePickleError):
        TorchFile(tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(content)
    with pytest.raises((UnsafePickleError, CheckpointError)):
        TorchFile(tmp_path / "b.bin")


def test_a_compressed_entry_is_refused(release, tmp_path):
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000))
    with pytest.raises(CheckpointError, match="which is compressed"):
        TorchFile(path)


def test_big_endian_numbers_are_refused(release, tmp_path):
    path = tmp_path / "a.bin"
    release.write_torch(path, TENSORS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", b"big")
    with pytest.raises(CheckpointError, match="big-endian"):
        TorchFile(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1], "list, not a state dict"), ({"a": 1}, "a, which is no tensor")],
)
def test_other_content_is_refused(tmp_path, content, message):
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
    with pytest.raises(CheckpointError, match=message):
        TorchFile(tmp_path / "a.bin")
