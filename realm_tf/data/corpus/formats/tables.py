"""Tables as text: TSV, which has no quoting, and CSV, which has."""

import csv
import re
from collections.abc import Iterator
from typing import Any

from realm_tf.data.corpus.decompressed_file import (
    MAX_LINE_BYTES,
    DecompressedFile,
)

DPR_COLUMNS = ("id", "text", "title")  # of its passages, which have a header
ID_COLUMNS = ("id", "_id")
_TEXT = "text"
# As the csv module writes a field: with each quote inside doubled.
_QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


def read_tsv(file: DecompressedFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a TSV file. Every line is a row.

    The TSV of this field has no quoting: a quote is a character. DPR's
    passages alone were written by the csv module, which doubles the quotes
    within a field and puts the field in quotes; so a field is taken out of
    its quotes where there are doubled ones, or where all fields have them.

    Args:
        file: `DecompressedFile`.

    Yields:
        `(line, row)`: column -> field, or "row" and "columns" where the two
        do not fit.
    """
    columns: tuple[str, ...] = ()
    for line, data in file.lines():
        text = data.decode(errors="surrogateescape").rstrip("\r\n")
        if not text:
            continue
        row = split_tsv(text)
        if not columns:
            columns = _header(row) or DPR_COLUMNS
            if _header(row):
                continue
        yield line, _named(row, columns)


def read_csv(file: DecompressedFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a CSV file with a header, which may be quoted and span lines.

    Args:
        file: `DecompressedFile`.

    Yields:
        See `read_tsv`. A file without a header is one bad row.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    # What is no UTF-8 becomes half surrogate pairs, which are refused later.
    rows = csv.reader(
        (line.decode(errors="surrogateescape") for _, line in file.lines()),
        strict=True,
    )
    columns: tuple[str, ...] = ()
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            row = [str(error)]
        if row is None:
            return
        if not columns:
            columns = _header(row)
            if not columns:
                yield line, {"row": row, "columns": (_TEXT,), "header": True}
                return
        elif row:
            yield line, _named(row, columns)


def has_text_column(line: bytes, delimiter: str) -> bool:
    """Whether the first line of a table is a header that names `text`."""
    text = line.decode(errors="replace").rstrip("\r\n")
    row = next(csv.reader([text], delimiter=delimiter), [])
    return bool(_header(row))


def _header(row: list[str]) -> tuple[str, ...]:
    """The names of the columns, if the row is one of names."""
    names = tuple(name.strip().lower() for name in row)
    return names if _TEXT in names else ()


def split_tsv(line: str) -> list[str]:
    """The fields of a line; see `read_tsv`."""
    row = line.split("\t")
    inner = [_QUOTED.fullmatch(field) for field in row]
    all_quoted = len(row) > 1 and all(inner)
    return [
        match[1].replace('""', '"')
        if match and (all_quoted or '""' in match[1])
        else field
        for field, match in zip(row, inner, strict=True)
    ]


def _named(row: list[str], columns: tuple[str, ...]) -> dict[str, Any]:
    if len(row) != len(columns):
        return {"row": row, "columns": columns}
    return dict(zip(columns, row, strict=True))
