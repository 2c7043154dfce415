"""Markdown and HTML to plain text."""

import html.parser
import re
from typing import NamedTuple

from markdown_it import MarkdownIt

_HIDDEN = {
    *("head", "script", "style", "noscript", "template", "svg", "iframe"),
    *("nav", "button", "select", "textarea", "form"),
}
# What stands on lines of its own.
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "br", "caption"),
    *("dd", "details", "div", "dl", "dt", "figcaption", "figure", "footer"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol"),
    *("p", "pre", "section", "summary", "table", "tr", "ul"),
}
_CELLS = {"td", "th"}
_FRONT_MATTER = re.compile(r"---\r?\n(.*?)\r?\n(?:---|\.\.\.)\s*\r?\n", re.S)
_FRONT_TITLE = re.compile(r"^title:(.*)$", re.M)


class MarkedUpText(NamedTuple):
    """The text of a page.

    Args:
        title: its title or first heading; "" for none.
        text: without markup, a paragraph a line.
    """

    title: str
    text: str


def plain_markdown(source: str) -> MarkedUpText:
    r"""The plain text of Markdown (CommonMark with tables).

    Args:
        source: the content of the file. The front matter is no text, but may
            name the title.

    Example:
    >>> plain_markdown("# Emma\n\nA *novel* of [1815](x.md).")
    MarkedUpText(title='Emma', text='Emma\nA novel of 1815.')
    """
    front = _FRONT_MATTER.match(source)
    if front:
        source = source[front.end() :]
    rendered = MarkdownIt("commonmark").enable("table").render(source)
    page = plain_html(rendered)
    named = _FRONT_TITLE.search(front[1]) if front else None
    title = named[1].strip().strip("\"'") if named else ""
    return page._replace(title=title) if title else page


def plain_html(source: str) -> MarkedUpText:
    """The plain text of HTML, without menus, scripts and forms.

    Args:
        source: the content of the file.

    Example:
    >>> plain_html("<title>Emma</title><p>A <b>novel</b> &amp; more.</p>")
    MarkedUpText(title='Emma', text='A novel & more.')
    """
    parser = _TextParser()
    parser.feed(source)
    parser.close()
    lines = (
        " ".join(line.split()) for line in "".join(parser.parts).split("\n")
    )
    title = " ".join("".join(parser.title or parser.heading).split())
    return MarkedUpText(title, "\n".join(line for line in lines if line))


class _TextParser(html.parser.HTMLParser):
    """Collects the text that a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title: list[str] = []
        self.heading: list[str] = []
        self._hidden: list[str] = []
        self._in_title = self._in_heading = self._in_pre = False

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        if tag == "body":
            self._hidden.clear()  # a head need not be closed
        if tag == "title" and not self.title:
            self._in_title = True
        elif tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "h1" and not self.heading:
            self._in_heading = True
        self._separate(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        elif tag == "h1":
            self._in_heading = False
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._hidden:
            if self._in_heading:
                self.heading.append(data)
            # Lines of code stay lines; others are wrapped by the author.
            text = data if self._in_pre else data.replace("\n", " ")
            self.parts.append(text)

    def _separate(self, tag: str) -> None:
        if tag == "pre":
            self._in_pre = not self._in_pre
        if tag in _BLOCKS:
            self.parts.append("\n")
        elif tag in _CELLS:
            self.parts.append(" ")
