"""What reaches the terminal: results on stdout, all else on stderr."""

import contextlib
import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Any, TextIO

import click
import rich.console

from realm_tf.errors import RealmError

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SWITCH = re.compile(r", or pass `(?P<name>\w+)=True`(?P<purpose>[^.]*)\.")
_EXPECTED = (RealmError, ValueError, OSError, ImportError, RuntimeError)


def neutralise(text: str) -> str:
    r"""Replaces control characters that a terminal would obey.

    Example:
    >>> neutralise("Em\x1b[31mma")
    'Em␛[31mma'
    """
    return _CONTROLS.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"


def stdout() -> rich.console.Console:
    """Console for results; plain text if it is no terminal."""
    return rich.console.Console(highlight=False, markup=False, emoji=False)


def stderr() -> rich.console.Console:
    """Console for progress."""
    return rich.console.Console(stderr=True)


def print_json(content: Any) -> None:
    """Prints one line of JSON, in ASCII, so that any terminal is safe."""
    click.echo(json.dumps(content))


def print_note(text: str) -> None:
    """Prints a line for people, apart from the results."""
    click.echo(neutralise(text), err=True)


def print_error(error: Exception, options: Collection[str] = ()) -> None:
    """Prints an error without its traceback.

    Args:
        error: what was raised.
        options: of the command, such as "--skip-bad".
    """
    print_note(f"Error: {as_typed(_message(error), options)}")


def as_typed(message: str, options: Collection[str]) -> str:
    """A message of the library whose advice can be typed.

    Args:
        message: it may advise a switch of Python, such as `skip_bad=True`.
        options: of the command. Advice that it has no option for is dropped.

    Example:
    >>> message = "Correct it, or pass `skip_bad=True` to skip invalid records."
    >>> as_typed(message, ["--skip-bad"])
    'Correct it, or add `--skip-bad` to skip invalid records.'
    >>> as_typed(message, [])
    'Correct it.'
    """

    def typed(match: re.Match[str]) -> str:
        option = f"--{match['name'].replace('_', '-')}"
        if option in options:
            return f", or add `{option}`{match['purpose']}."
        return "."

    return _SWITCH.sub(typed, message)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{name}"
    if isinstance(error, _EXPECTED):
        return str(error)
    advice = "Add --debug to the command for the traceback."
    return f"{type(error).__name__}: {error}. {advice}"


@contextlib.contextmanager
def readable_output() -> Iterator[None]:
    """Warnings as one line each, and no crash over signs a terminal lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logger = logging.getLogger("realm_tf")
    handler = _Notes(logging.WARNING)
    logger.addHandler(handler)
    show, warnings.showwarning = warnings.showwarning, _show_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_note(f"{record.levelname.capitalize()}: {record.getMessage()}")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print_note(f"Warning: {message}")
