"""Wikitext, the markup of Wikipedia's dumps, to plain text."""

import html
import re
from collections.abc import Collection

from realm_tf.data.corpus.formats.inline_templates import printed, template_name
from realm_tf.data.corpus.formats.namespaces import (
    hidden_namespaces,
    normalized,
)
from realm_tf.data.corpus.formats.template_tally import TemplateTally

# MediaWiki itself gives up at 40 nested templates.
MAX_DEPTH = 100
_DROPPED_TAGS = (
    "ref|references|gallery|math|chem|ce|timeline|score|imagemap|"
    "syntaxhighlight|source|templatestyles|graph|mapframe|hiero"
)
_TOKEN = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|^[ :]*\{\||^[ \t]*\|\}(?!\})|"
    rf"<(?P<close>/?)(?P<tag>{_DROPPED_TAGS})\b[^<>]*>",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSERS = {"}}": "{{", "]]": "[[", "|}": "{|"}
_HIDDEN = hidden_namespaces()
# Applied in this order, to what is left. None can match across lines.
_REPLACEMENTS = [
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"^=[^\n]*=[ \t]*$", ""),  # headings
        (r"^[ \t]*-{4,}", ""),
        (r"<br\b[^<>]*>", " "),
        (r"</?[a-zA-Z][^<>]*>", ""),
        (r"\[(?:https?:|ftp:)?//[^\s\[\]]++ ?+([^\[\]\n]*+)\]", r"\1"),
        (r"'{2,}", ""),
        (r"__[A-Z]+__", ""),
        (r"^[*#:;]+[ \t]*", ""),
        (r"&#[0-9]{4000,};?", "\ufffd"),  # `html.unescape` would raise
    )
]
# What removed templates leave behind: "( ; )", "word ," and blank runs.
_TIDIED = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\(\s*(?:[,;]\s*)+", "("),
        (r" ?\(\s*\)", ""),
        (r"[ \t\xa0]+", " "),
        (r" (?=[,.;\n])", ""),
        (r"\n\s*\n", "\n\n"),
    )
]


def strip_wikitext(
    text: str,
    *,
    hidden: Collection[str] = _HIDDEN,
    tally: TemplateTally | None = None,
) -> str | None:
    """The running text of a page.

    Templates, tables, references, images, headings and categories are left
    out with all they hold; links become the words they show. Of templates,
    the common inline ones are printed, see `inline_templates.printed`.

    It needs time in proportion to the text. `mwparserfromhell` does not: 30 kB
    of `{{a|b=[[c|` keep it busy for 17 seconds, and nothing can stop it.

    Args:
        text: wikitext, already unescaped once, as an XML parser returns it.
        hidden: namespaces whose links show nothing, see `hidden_namespaces`.
        tally: counts the templates within the text.

    Returns:
        str, or None if markup is nested more than `MAX_DEPTH` deep.

    Example:
    >>> strip_wikitext("'''Emma''' is a [[novel|book]] {{cn}}.<ref>x</ref>")
    'Emma is a book.'
    """
    plain = _strip_nested(
        _strip_comments(text), hidden, tally or TemplateTally()
    )
    if plain is None:
        return None
    for pattern, replacement in _REPLACEMENTS:
        plain = pattern.sub(replacement, plain)
    plain = html.unescape(plain)
    for pattern, replacement in _TIDIED:
        plain = pattern.sub(replacement, plain)
    return plain.strip()


def _strip_comments(text: str) -> str:
    # A regular expression would look for the end of every unclosed comment.
    visible, *rest = text.split("<!--")
    return visible + "".join(piece.partition("-->")[2] for piece in rest)


def _strip_nested(
    text: str, hidden: Collection[str], tally: TemplateTally
) -> str | None:
    """Resolves what can be nested, in one pass with a stack."""
    pieces: list[str] = []
    stack: list[tuple[str, int, int]] = []  # kind, first piece inside, start
    place = 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[place : token.start()])
        place = token.end()
        kind, is_closer = _kind(token)
        if not kind:
            continue
        if not is_closer:
            stack.append((kind, len(pieces), token.start()))
            if len(stack) > MAX_DEPTH:
                return None
            continue
        opener = _last(stack, kind)
        if opener is None:
            continue
        _, first, start = stack[opener]
        inside = "".join(pieces[first:])
        shown = ""
        if kind == "[[":
            shown = _shown(inside, hidden)
        elif kind == "{{":
            shown = printed(inside)
            if opener == 0 and _is_inline(text, start, place):
                tally.add(template_name(inside), bool(shown))
        pieces[first:] = [shown]
        del stack[opener:]
    pieces.append(text[place:])
    return "".join(pieces)


def _is_inline(text: str, start: int, end: int) -> bool:
    """Whether there is anything else on the lines of a template."""
    ends = ("", "\n")
    return text[max(0, start - 1) : start] not in ends or (
        text[end : end + 1] not in ends
    )


def _kind(token: re.Match[str]) -> tuple[str, bool]:
    """What a token opens or closes; "" for a tag that does both."""
    if token["tag"]:
        is_empty = token[0].endswith("/>")
        return "" if is_empty else token["tag"].lower(), bool(token["close"])
    sign = token[0].strip(" \t:")
    return _CLOSERS.get(sign, sign), sign in _CLOSERS


def _last(stack: list[tuple[str, int, int]], kind: str) -> int | None:
    for i in range(len(stack) - 1, -1, -1):
        if stack[i][0] == kind:
            return i
    return None


def _shown(link: str, hidden: Collection[str]) -> str:
    namespace, colon, _ = link.partition(":")
    if colon and normalized(namespace) in hidden:
        return ""
    target, bar, words = link.partition("|")
    return words if bar else target.lstrip(":")
