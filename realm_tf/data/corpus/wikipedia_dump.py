"""Pages of a Wikipedia XML dump (`pages-articles`)."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import DecompressedFile

# MediaWiki keeps pages under 2 MiB; escaping makes them longer.
MAX_PAGE_BYTES = 16 * 2**20
_PAGE_START, _PAGE_END = b"<page>", b"</page>"
_ARTICLE_NAMESPACE = "0"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # its byte-order marks
_AFTER_PAGE = re.compile(rb"(?<=</page>)")


def read_pages(file: DecompressedFile) -> Iterator[tuple[int, bytes]]:
    """Cuts a dump into its pages.

    Only what lies between `<page>` and `</page>` is ever parsed, page by page.
    So a malformed page costs that page only, and document types, and with them
    entity bombs, are never looked at.

    Args:
        file: the dump.

    Yields:
        `(line, page)`: number of the first line, and the XML of the page. A
        page that is too long comes out longer than `MAX_PAGE_BYTES`, one that
        does not end without its end. Of a file in UTF-16, its first line.
    """
    page: list[bytes] = []
    length = first_line = 0
    for number, line in file.lines():
        if number == 1 and line.startswith(_UTF_16):
            yield number, line
            return
        for piece in _AFTER_PAGE.split(line):
            start = piece.find(_PAGE_START)
            if start >= 0:
                if page:
                    yield first_line, b"".join(page)
                page, length, first_line = [], 0, number
                piece = piece[start:]
            elif not page:
                continue
            if length <= MAX_PAGE_BYTES:
                page.append(piece)
                length += len(piece)
            if piece.endswith(_PAGE_END):
                yield first_line, b"".join(page)
                page = []
    if page:
        yield first_line, b"".join(page)


def parse_page(page: bytes) -> Article | None:
    """The article on a page, its text still wikitext.

    Args:
        page: XML of a page element.

    Returns:
        `Article`, or None for redirects and pages of other namespaces.

    Raises:
        ValueError: if the page is no well-formed XML, too long, not in UTF-8,
            or lacks a title, an id or a text.
    """
    if page.startswith(_UTF_16):
        raise ValueError(
            "A dump must be in UTF-8. Received: UTF-16. Convert the file with "
            "`iconv -f UTF-16 -t UTF-8`."
        )
    if len(page) > MAX_PAGE_BYTES:
        raise ValueError(
            f"A page must not be longer than {MAX_PAGE_BYTES} bytes. Dumps of "
            "the whole history hold such pages; use `pages-articles`."
        )
    try:
        element = ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise ValueError(
            f"A page must be well-formed XML. Received: {error}."
        ) from error
    namespace = element.findtext("ns", _ARTICLE_NAMESPACE)
    if namespace != _ARTICLE_NAMESPACE or element.find("redirect") is not None:
        return None
    fields = {
        name: element.findtext(path)
        for name, path in (
            ("id", "id"),
            ("title", "title"),
            ("text", "revision/text"),
        )
    }
    missing = [name for name, value in fields.items() if value is None]
    if missing:
        raise ValueError(f"A page must have {', '.join(missing)}.")
    return Article(str(fields["id"]), str(fields["title"]), str(fields["text"]))
