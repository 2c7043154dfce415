"""The file formats that articles come in."""

import dataclasses
import functools
import html
import pathlib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import (
    MAX_LINE_BYTES,
    DecompressedFile,
)
from realm_tf.data.corpus.formats import json_values, marked_up, tables
from realm_tf.data.corpus.formats.folder_files import has_body
from realm_tf.data.corpus.formats.namespaces import read_hidden_namespaces
from realm_tf.data.corpus.formats.template_tally import TemplateTally
from realm_tf.data.corpus.jsonl import decode_object, text_field
from realm_tf.data.corpus.wikipedia_dump import parse_page, read_pages
from realm_tf.data.corpus.wikitext import strip_wikitext

MAX_NAME_CHARACTERS = 1_000  # of a title or an id; Wikipedia allows 255
_START_BYTES = 2**16
_COMPRESSED = re.compile(r"\.(gz|bz2)$", re.IGNORECASE)
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".csv": "csv",
    ".txt": "text",
    ".rst": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".xml": "wikipedia",
}
_WIKIEXTRACTOR_NAME = re.compile(r"wiki_\d+$")
_ELEMENT = re.compile(
    r'<doc id="(?P<id>[^"]*)"[^>]*? title="(?P<title>[^>]*)">\n'
    r"(?P<text>.*?)</doc>\s*",
    re.DOTALL,
)
_NAVIGATION_STARTS = ("List of ", "Index of ", "Outline of ")


Finish = Callable[[Article, TemplateTally], Article | None]


class ArticleFormat(NamedTuple):
    """How to read one kind of file.

    Args:
        records: function from a file to `(line, record)` pairs.
        parse: function from a record and a default id to an `Article`, or
            None where the record holds no article. Raises `ValueError` if the
            record is bad.
        finisher: function from the path of a file to the slow part, which is
            free to run in another process: a function from an `Article` and a
            `TemplateTally` to an `Article`, or None where no text can be made
            of it.
        skip_navigation: skip lists and disambiguation pages by default.
    """

    records: Callable[[DecompressedFile], Iterator[tuple[int, Any]]]
    parse: Callable[[Any, str], Article | None]
    finisher: Callable[[pathlib.Path], Finish] | None = None
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
    by_name = _SUFFIXES.get(suffix)
    if suffix and by_name != "jsonl":
        return by_name
    if name.upper() == "README":
        return "text"
    with DecompressedFile(path) as file:
        start = file.read(_START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[")):
        return "jsonl" if _is_lines(start) else "json"
    if start.startswith(b"<doc "):
        return "wikiextractor"
    return "wikipedia" if start.startswith(b"<mediawiki") else by_name


def _is_lines(start: bytes) -> bool:
    """Whether a file that begins so has one JSON object a line."""
    line, end, _ = start.partition(b"\n")
    if not line.startswith(b"{"):
        return False
    # A pretty-printed object has no whole object on its first line.
    return not end or line.rstrip().endswith(b"}")


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
        text_field(record, "body" if has_body(record) else "text"),
    )


def _parse_wikiextractor(line: bytes, default_id: str) -> Article:
    if line.startswith(b"<doc "):
        article = _parse_element(line)
    else:
        article = _parse_json(line, default_id)
    return dataclasses.replace(
        article,
        title=html.unescape(article.title),
        text=html.unescape(article.text),
    )


def _parse_element(element: bytes) -> Article:
    """WikiExtractor's output without `--json`; its first line is the title."""
    match = _ELEMENT.match(element.decode("utf-8", "surrogateescape"))
    if match is None:
        raise ValueError(
            "An element must be `<doc id=... title=...>`, text and `</doc>`. "
            f"Received: {element[:100]!r}, {len(element)} bytes."
        )
    title, text = match["title"], match["text"].strip()
    return Article(match["id"], title, text.removeprefix(title).lstrip())


def _lines(file: DecompressedFile) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in file.lines() if line.strip())


def _wikiextractor_records(
    file: DecompressedFile,
) -> Iterator[tuple[int, bytes]]:
    """Lines of WikiExtractor's `--json`, or its `<doc ...>` elements."""
    element: list[bytes] = []
    start = 0
    for number, line in file.lines():
        if element or line.startswith(b"<doc "):
            start = start if element else number
            element.append(line)
            if line.startswith(b"</doc>"):
                yield start, b"".join(element)
                element = []
        elif line.strip():
            yield number, line
    if element:
        yield start, b"".join(element)


def _parse_row(row: dict[str, Any], default_id: str) -> Article:
    if "header" in row:
        raise ValueError(
            "A CSV file must have a header that names `text`, and where known "
            f"`id` and `title`. Received: {str(row['row'])[:100]}."
        )
    if "columns" in row:
        raise ValueError(
            f"A row must have the fields {', '.join(row['columns'])}. "
            f"Received: {len(row['row'])} fields, {str(row['row'])[:100]}. A "
            "record of TSV must be one line, with no tab in a field."
        )
    found = (row[name] for name in tables.ID_COLUMNS if name in row)
    return Article(next(found, default_id), row.get("title", ""), row["text"])


def _parse_marked_up(
    plain: Callable[[str], marked_up.MarkedUpText], data: bytes, default_id: str
) -> Article:
    article = _parse_text(data, default_id)
    page = plain(article.text)
    return dataclasses.replace(
        article,
        title=(page.title or article.title)[:MAX_NAME_CHARACTERS],
        text=page.text,
    )


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


def _page_finisher(dump: pathlib.Path) -> Finish:
    hidden = read_hidden_namespaces(dump)
    return functools.partial(_finish_page, hidden)


def _finish_page(
    hidden: Collection[str], page: Article, tally: TemplateTally
) -> Article | None:
    text = strip_wikitext(page.text, hidden=hidden, tally=tally)
    return None if text is None else dataclasses.replace(page, text=text)


FORMATS = {
    "jsonl": ArticleFormat(_lines, _parse_json),
    "json": ArticleFormat(json_values.read_values, _parse_json),
    "tsv": ArticleFormat(tables.read_tsv, _parse_row),
    "csv": ArticleFormat(tables.read_csv, _parse_row),
    "text": ArticleFormat(_whole, _parse_text),
    "markdown": ArticleFormat(
        _whole, functools.partial(_parse_marked_up, marked_up.plain_markdown)
    ),
    "html": ArticleFormat(
        _whole, functools.partial(_parse_marked_up, marked_up.plain_html)
    ),
    "wikiextractor": ArticleFormat(
        _wikiextractor_records, _parse_wikiextractor, skip_navigation=True
    ),
    "wikipedia": ArticleFormat(
        read_pages, _parse_page, _page_finisher, skip_navigation=True
    ),
}
