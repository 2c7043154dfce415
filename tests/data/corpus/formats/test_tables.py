import pytest

from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats.tables import (
    has_text_column,
    read_csv,
    read_tsv,
)


def rows(read, tmp_path, text):
    (tmp_path / "x").write_text(text, encoding="utf-8-sig")
    with DecompressedFile(tmp_path / "x") as file:
        return list(read(file))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('"a ""b"" c"', 'a "b" c'),
        ('"a" and "b"', '"a" and "b"'),
        ('"a"', '"a"'),
        ('"a', '"a'),
        ('a""b', 'a""b'),
    ],
)
def test_fields_are_unquoted_where_the_csv_module_quoted(
    tmp_path, field, expected
):
    [(line, row)] = rows(read_tsv, tmp_path, f"id\ttext\n1\t{field}\n")
    assert (line, row) == (2, {"id": "1", "text": expected})


def test_a_row_with_all_fields_in_quotes_is_unquoted(tmp_path):
    [(_, row)] = rows(read_tsv, tmp_path, '"1"\t"a"\t"b"\n')
    assert row == {"id": "1", "text": "a", "title": "b"}


def test_csv_rows_may_span_lines(tmp_path):
    text = 'text,id\n"a\nb",1\nc,2\n'
    assert rows(read_csv, tmp_path, text) == [
        (2, {"text": "a\nb", "id": "1"}),
        (4, {"text": "c", "id": "2"}),
    ]


def test_a_header_names_text():
    assert has_text_column(b"id,Text\r\n", ",")
    assert not has_text_column(b"id,body", ",")
    assert not has_text_column(b"", ",")
