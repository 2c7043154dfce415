"""The file formats that articles come in."""

import csv
import dataclasses
import html
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import (
    MAX_LINE_BYTES,
    DecompressedFile,
)
from realm_tf.data.corpus.jsonl import decode_object, text_field
from realm_tf.data.corpus.wikipedia_dump import parse_page, read_pages
from realm_tf.data.corpus.wikitext import strip_wikitext

MAX_NAME_CHARACTERS = 1_000  # of a title or an id; Wikipedia allows 255
_COMPRESSED = re.compile(r"\.(gz|bz2)$", re.IGNORECASE)
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".txt": "text",
    ".md": "text",
    ".xml": "wikipedia",
}
_WIKIEXTRACTOR_NAME = re.compile(r"wiki_\d+$")
_TSV_COLUMNS = ("id", "text", "title")  # those of DPR's passages
_NAVIGATION_STARTS = ("List of ", "Index of ", "Outline of ")


class ArticleFormat(NamedTuple):
    """How to read one kind of file.

    Args:
        records: function from a file to `(line, record)` pairs.
        parse: function from a record and a default id to an `Article`, or
            None where the record holds no article. Raises `ValueError` if the
            record is bad.
        finish: the slow part, free to run in another process: `Article` to
            `Article`, or None where no text can be made of it.
        skip_navigation: skip lists and disambiguation pages by default.
    """

    records: Callable[[DecompressedFile], Iterator[tuple[int, Any]]]
    parse: Callable[[Any, str], Article | None]
    finish: Callable[[Article], Article | None] | None = None
    skip_navigation: bool = False


def detect_format(path: pathlib.Path) -> str | None:
    """Name of a file's format, by its name, then by its first bytes.

    Returns:
        A key of `FORMATS`, or None.
    """
    name = _COMPRESSED.sub("", path.name)
    if _WIKIEXTRACTOR_NAME.match(name):
        return "wikiextractor"
    suffix = pathlib.PurePath(name).suffix.lower()
    if suffix:
        return _SUFFIXES.get(suffix)
    with DecompressedFile(path) as file:
        start = file.read(1_024).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return "jsonl"
    return "wikipedia" if start.startswith(b"<mediawiki") else None


def is_navigation(title: str) -> bool:
    """Whether a page only leads to others, by the rule of ORQA's corpus.

    Example:
    >>> is_navigation("List of rivers"), is_navigation("Lists of rivers")
    (True, False)
    """
    return title.startswith(_NAVIGATION_STARTS) or "(disambiguation)" in title


def check_article(article: Article) -> Article:
    """Returns the article, or raises `ValueError` if it cannot be indexed."""
    for name in ("document_id", "title"):
        if len(getattr(article, name)) > MAX_NAME_CHARACTERS:
            raise ValueError(
                f"`{name}` must not be longer than {MAX_NAME_CHARACTERS} "
                f"characters. Received: {len(getattr(article, name))}."
            )
    if not article.document_id:
        raise ValueError("`document_id` must not be empty.")
    for name, value in dataclasses.asdict(article).items():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"`{name}` must be text in UTF-8. Received: bytes that are "
                f"none, or half a surrogate pair, at character {error.start}."
            ) from error
    return article


def _parse_json(line: bytes, default_id: str) -> Article:
    record = decode_object(line)
    # BEIR writes `_id`.
    document_id = record.get("id", record.get("_id", default_id))
    if type(document_id) is int:
        document_id = str(document_id)
    return Article(
        text_field({"id": document_id}, "id"),
        text_field(record, "title", ""),
        text_field(record, "text"),
    )


def _parse_wikiextractor(line: bytes, default_id: str) -> Article:
    article = _parse_json(line, default_id)
    return dataclasses.replace(
        article,
        title=html.unescape(article.title),
        text=html.unescape(article.text),
    )


def _lines(file: DecompressedFile) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in file.lines() if line.strip())


def _rows(file: DecompressedFile) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as the csv module reads them; text in quotes may hold line ends."""
    csv.field_size_limit(MAX_LINE_BYTES)
    # What is no UTF-8 becomes half surrogate pairs, which are refused later.
    rows = csv.reader(
        (line.decode(errors="surrogateescape") for _, line in file.lines()),
        delimiter="\t",
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
            header = tuple(name.strip().lower() for name in row)
            columns = header if "text" in header else _TSV_COLUMNS
            if columns is header:
                continue
        if row:
            yield line, _named(row, columns)


def _named(row: list[str], columns: tuple[str, ...]) -> dict[str, Any]:
    if len(row) != len(columns):
        return {"row": row, "columns": columns}
    return dict(zip(columns, row, strict=True))


def _parse_row(row: dict[str, Any], default_id: str) -> Article:
    if "columns" in row:
        raise ValueError(
            f"A row must have the fields {', '.join(row['columns'])}. "
            f"Received: {len(row['row'])} fields, {str(row['row'])[:100]}."
        )
    return Article(row.get("id", default_id), row.get("title", ""), row["text"])


def _whole(file: DecompressedFile) -> Iterator[tuple[int, bytes]]:
    yield 1, file.read(MAX_LINE_BYTES + 1)


def _parse_text(data: bytes, default_id: str) -> Article:
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(
            f"A text must not be longer than {MAX_LINE_BYTES} bytes."
        )
    document_id = default_id.rpartition(":")[0]  # the file is the document
    name = _COMPRESSED.sub("", pathlib.PurePosixPath(document_id).name)
    text = data.decode("utf-8-sig", "surrogateescape")
    return Article(document_id, pathlib.PurePosixPath(name).stem, text)


def _parse_page(page: bytes, default_id: str) -> Article | None:
    return parse_page(page)


def _finish_page(page: Article) -> Article | None:
    text = strip_wikitext(page.text)
    return None if text is None else dataclasses.replace(page, text=text)


FORMATS = {
    "jsonl": ArticleFormat(_lines, _parse_json),
    "tsv": ArticleFormat(_rows, _parse_row),
    "text": ArticleFormat(_whole, _parse_text),
    "wikiextractor": ArticleFormat(
        _lines, _parse_wikiextractor, skip_navigation=True
    ),
    "wikipedia": ArticleFormat(
        read_pages, _parse_page, _finish_page, skip_navigation=True
    ),
}
