"""Reads the examples of our docstrings as examples, for the reference.

An extension of Griffe, which `mkdocs.yml` names. Griffe knows a section
"Examples:" of indented lines, those with `>>>` being code; ours is "Example:",
and its lines are not indented.
"""

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n(.*?)(?=^[A-Z][a-z]+:|\Z)", re.M | re.S)


class Examples(griffe.Extension):
    """Makes "Example:" a section of its own."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_examples(obj.docstring.value)


def with_examples(text: str) -> str:
    """A docstring with the section that Griffe reads."""
    return _EXAMPLE.sub(
        lambda match: "Examples:\n" + textwrap.indent(match[1], "    "), text
    )
