import pytest

from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats import json_values


def read(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with DecompressedFile(tmp_path / "x") as file:
        return list(json_values.read_values(file))


def test_values_come_with_their_lines(tmp_path):
    data = b'\xef\xbb\xbf[\n {"a": 1},\n\n {"b":\n 2}\n]\n'
    assert read(tmp_path, data) == [(2, b'{"a": 1}'), (4, b'{"b":\n 2}')]
    assert read(tmp_path, b'{"a":\n1}\n{"b": 2}') == [
        (1, b'{"a":\n1}'),
        (3, b'{"b": 2}'),
    ]


def test_what_is_no_json_is_the_last_value(tmp_path):
    assert read(tmp_path, b"[1, x, 2]") == [(1, b"1"), (1, b"x, 2]"), (1, b"[")]
    assert read(tmp_path, b"[1] more") == [(1, b"1"), (1, b"more")]
    assert read(tmp_path, b"") == read(tmp_path, b"[]") == []


def test_a_file_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_values, "MAX_FILE_BYTES", 3)
    with pytest.raises(ValueError, match="not be longer than 3 bytes. Receive"):
        read(tmp_path, b"[1,2]")
