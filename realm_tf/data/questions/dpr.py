"""Question tables of DPR: a question, a tab, and a list of answers.

Its JSON files are read as others are, see `questions.question_of_record`.
"""

import ast
import os
import reprlib
from typing import Any

from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats.tables import split_tsv

_MAX_LINE_BYTES = 2**20
_START_BYTES = 2**16
_SUFFIXES = (".csv", ".tsv")


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a table of questions, by its name or first line."""
    name = os.fspath(path).lower().removesuffix(".gz").removesuffix(".bz2")
    with DecompressedFile(path) as file:
        start = file.read(_START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[")):
        return False
    fields = split_tsv(start.partition(b"\n")[0].decode("utf-8", "replace"))
    return name.endswith(_SUFFIXES) or (
        len(fields) == 2 and fields[1].startswith("[")
    )


def decode_row(line: bytes) -> dict[str, Any]:
    r"""A row as the object of a JSON line.

    Args:
        line: a question, a tab and a list of texts as Python or JSON writes it.

    Raises:
        ValueError: if it is no such row. Nothing of the line is run.

    Example:
    >>> decode_row(b'Who wrote Emma?\t["Jane Austen"]')
    {'question': 'Who wrote Emma?', 'answers': ['Jane Austen']}
    """
    if len(line) > _MAX_LINE_BYTES:
        raise ValueError(
            f"A row must not be longer than {_MAX_LINE_BYTES} bytes."
        )
    text = line.decode("utf-8")
    fields = split_tsv(text.rstrip("\r\n"))
    answers = _literal(fields[1]) if len(fields) == 2 else None
    if not isinstance(answers, list):
        raise ValueError(
            "A row must be a question, a tab and a list of answers, as in DPR. "
            f"Received: {reprlib.repr(text)}."
        )
    return {"question": fields[0], "answers": answers}


def _literal(field: str) -> Any:
    try:
        return ast.literal_eval(field.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
