"""JSON that is not one object a line: arrays and pretty-printed objects."""

import json
import re
from collections.abc import Iterator

from realm_tf.data.corpus.decompressed_file import (
    MAX_LINE_BYTES,
    DecompressedFile,
)

MAX_FILE_BYTES = 16 * MAX_LINE_BYTES  # held in memory at once
_BETWEEN = re.compile(r"[\s,]*")


def read_values(file: DecompressedFile) -> Iterator[tuple[int, bytes]]:
    """The objects of a JSON array, or objects one after the other.

    Args:
        file: `DecompressedFile`.

    Yields:
        `(line, value)`: number of the line where a value begins, and its JSON.
        What is no JSON is the last value.
    """
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(
            f"A JSON file must not be longer than {MAX_FILE_BYTES} bytes. "
            f"Received: {file.path}. Write one object a line (.jsonl)."
        )
    text = data.decode("utf-8-sig", "surrogateescape")
    decoder = json.JSONDecoder()
    place = _BETWEEN.match(text).end()  # type: ignore[union-attr]
    in_array = text.startswith("[", place)
    if in_array:
        place = _BETWEEN.match(text, place + 1).end()  # type: ignore[union-attr]
    line, counted = 1, 0
    while place < len(text):
        line += text.count("\n", counted, place)
        counted = place
        if in_array and text.startswith("]", place):
            rest = text[place + 1 :].strip()
            if rest:
                yield line, rest.encode("utf-8", "surrogateescape")
            return
        try:
            _, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = len(text)
        yield line, text[place:end].encode("utf-8", "surrogateescape")
        place = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
    if in_array:
        yield line, b"["  # no end
