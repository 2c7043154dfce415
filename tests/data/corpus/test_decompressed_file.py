import bz2
import gzip

import pytest

from realm_tf.data.corpus import decompressed_file
from realm_tf.data.corpus.decompressed_file import DecompressedFile

COMPRESS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("kind", COMPRESS)
def test_lines_are_numbered_and_plain(tmp_path, kind):
    path = tmp_path / "file.whatever"
    path.write_bytes(COMPRESS[kind](b"\xef\xbb\xbfone\r\n\ntwo"))
    with DecompressedFile(path) as file:
        assert list(file.lines()) == [(1, b"one\r\n"), (2, b"\n"), (3, b"two")]
        assert file.bytes_read == path.stat().st_size


@pytest.mark.parametrize("kind", COMPRESS)
def test_empty_file_has_no_lines(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(COMPRESS[kind](b""))
    with DecompressedFile(path) as file:
        assert list(file.lines()) == []


def test_over_long_line_is_cut_and_the_next_one_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(decompressed_file, "MAX_LINE_BYTES", 10)
    path = tmp_path / "file"
    path.write_bytes(b"a" * 45 + b"\nnext\n")
    with DecompressedFile(path) as file:
        assert list(file.lines()) == [(1, b"a" * 11), (2, b"next\n")]


@pytest.mark.parametrize("kind", ["gzip", "bzip2"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_data_are_refused(tmp_path, kind, damage):
    path = tmp_path / "file"
    data = bytearray(COMPRESS[kind](bytes(range(256)) * 100))
    if damage == "cut":
        del data[-10:]
    else:
        data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with (
        pytest.raises(ValueError, match="is damaged after"),
        DecompressedFile(path) as file,
    ):
        file.read(10**6)


@pytest.mark.parametrize("kind", ["gzip", "bzip2"])
def test_bomb_is_refused_by_ratio(tmp_path, kind):
    path = tmp_path / "bomb"
    path.write_bytes(COMPRESS[kind](bytes(40 * 2**20)))
    with (
        pytest.raises(ValueError, match="must not grow more than 200-fold"),
        DecompressedFile(path) as file,
    ):
        for _ in range(40):
            file.read(2**20)


def test_bomb_is_refused_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(decompressed_file, "MAX_DECOMPRESSED_BYTES", 1_000)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes(range(256)) * 4))
    with (
        pytest.raises(ValueError, match="beyond 1000 bytes"),
        DecompressedFile(path) as file,
    ):
        file.read(10_000)


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        DecompressedFile(tmp_path / "none")
