import gzip
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.data.corpus import decompressed_file, jsonl
from realm_tf.errors import BadRecordError


@pytest.fixture
def write(tmp_path):
    def _write(content, name="records.jsonl"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return _write


def test_read_gives_line_numbers_and_objects(write):
    path = write(b'{"a": 1}\n{"a": "\xc3\xa9"}')
    assert list(jsonl.read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": "é"})]


def test_read_detects_gzip_by_content_not_name(write):
    path = write(gzip.compress(b'{"a": 1}\n'), "records.jsonl")
    assert list(jsonl.read_jsonl(str(path))) == [(1, {"a": 1})]


def test_read_passes_over_byte_order_mark_crlf_and_blank_lines(write):
    path = write(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}\r\n')
    assert list(jsonl.read_jsonl(path)) == [(1, {"a": 1}), (4, {"a": 2})]


BAD_LINES = {
    "cut": (b'{"a": ', "valid JSON"),
    "not_utf8": (b'{"a": "\xff"}', "UTF-8"),
    "late_byte_order_mark": (b'\xef\xbb\xbf{"a": 1}', "valid JSON"),
    "array": (b"[1]", "JSON object. Received: list"),
    "repeated_key": (b'{"a": 1, "a": 1}', "repeat. Received: 'a' 2 times"),
    "nested_repeated_key": (b'{"a": {"b": 1, "b": 2}}', "must not repeat"),
    "nan": (b'{"a": NaN}', "finite. Received: NaN"),
    "infinity": (b'{"a": -Infinity}', "finite. Received: -Infinity"),
    "half_surrogate": (rb'{"a": "\ud83d"}', r"in pairs. Received: \\ud83d"),
    "deep": (b'{"a":' + b"[" * 200_000, "nested"),
    "long_number": (b'{"a": ' + b"1" * 10_000 + b"}", "valid JSON"),
}


@pytest.mark.parametrize("bad, message", BAD_LINES.values(), ids=BAD_LINES)
def test_read_names_file_and_line_of_a_bad_line(write, bad, message):
    path = write(b'{"a": 1}\n' + bad + b'\n{"a": 3}\n')
    with pytest.raises(BadRecordError, match=message) as caught:
        list(jsonl.read_jsonl(path))
    assert f"File: {path}, line 2." in str(caught.value)
    assert (caught.value.path, caught.value.line) == (str(path), 2)


@pytest.mark.parametrize("bad, message", BAD_LINES.values(), ids=BAD_LINES)
def test_skip_bad_leaves_bad_lines_out_and_logs_their_number(
    write, caplog, bad, message
):
    del message
    path = write(b'{"a": 1}\n' + bad + b'\n{"a": 3}\n')
    with caplog.at_level(logging.WARNING):
        records = list(jsonl.read_jsonl(path, skip_bad=True))
    assert records == [(1, {"a": 1}), (3, {"a": 3})]
    assert f"Skipped 1 bad records of {path}" in caplog.text


def test_whole_surrogate_pair_is_read(write):
    path = write(rb'{"a": "\ud83d\ude00"}')
    assert list(jsonl.read_jsonl(path)) == [(1, {"a": "😀"})]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_line_over_the_limit_is_one_bad_line(write, monkeypatch, compress):
    monkeypatch.setattr(decompressed_file, "MAX_LINE_BYTES", 20)
    path = write(compress(b'{"a": "' + b"x" * 90 + b'"}\n{"a": 2}\n'))
    with pytest.raises(BadRecordError, match="longer than 20 bytes"):
        list(jsonl.read_jsonl(path))
    assert list(jsonl.read_jsonl(path, skip_bad=True)) == [(2, {"a": 2})]


def test_parse_makes_the_record_and_its_errors_carry_the_line(write):
    def parse(record):
        if record["a"] > 1:
            raise ValueError("`a` must be at most 1.")
        return record["a"]

    path = write(b'{"a": 1}\n{"a": 2}\n{"a": 0}\n')
    with pytest.raises(
        BadRecordError, match="`a` must be at most 1. File: .* line 2"
    ):
        list(jsonl.read_jsonl(path, parse=parse))
    records = jsonl.read_jsonl(path, parse=parse, skip_bad=True)
    assert list(records) == [(1, 1), (3, 0)]


def test_gzip_bomb_is_refused_even_with_skip_bad(write):
    bomb = gzip.compress((b'{"a": "' + b"x" * 100_000 + b'"}\n') * 400)
    with pytest.raises(ValueError, match="grow more than 200-fold"):
        for _ in jsonl.read_jsonl(write(bomb), skip_bad=True):
            pass


def test_cut_gzip_is_refused_even_with_skip_bad(write):
    rows = b"".join(b'{"a": %d}\n' % (i * 7919) for i in range(10_000))
    path = write(gzip.compress(rows)[:-100])
    with pytest.raises(ValueError, match="is damaged after"):
        list(jsonl.read_jsonl(path, skip_bad=True))


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(jsonl.read_jsonl(tmp_path / "no.jsonl"))


def test_text_field_returns_text_or_default():
    assert jsonl.text_field({"a": "x"}, "a") == "x"
    assert jsonl.text_field({}, "a", default="") == ""


@pytest.mark.parametrize("value", [5, None, ["x"], True])
def test_text_field_refuses_other_types(value):
    with pytest.raises(ValueError, match="`a` must be text. Received: a="):
        jsonl.text_field({"a": value}, "a", default="")


def test_text_field_refuses_missing_field():
    with pytest.raises(ValueError, match=r"`a` must be given.*\['b'\]"):
        jsonl.text_field({"b": 1}, "a")


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    st.booleans(),
)
def test_decode_inverts_json_dumps(record, ascii_only):
    line = json.dumps(record, ensure_ascii=ascii_only).encode("utf-8")
    assert jsonl.decode_object(line) == record
