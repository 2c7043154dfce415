import pytest

from realm_tf.checkpoints.json_object import read_json
from realm_tf.errors import CheckpointError


def test_an_object_is_read_with_or_without_a_byte_order_mark(tmp_path):
    file = tmp_path / "x.json"
    for content in (b'{"a": 1}', b'\xef\xbb\xbf{"a": 1}'):
        file.write_bytes(content)
        assert read_json(file) == {"a": 1}


def test_a_missing_file_is_the_default(tmp_path):
    assert read_json(tmp_path / "x", default={}) == {}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "x")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"[" * 10**6])
def test_anything_else_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match="x must hold a JSON object"):
        read_json(tmp_path / "x", default={})
