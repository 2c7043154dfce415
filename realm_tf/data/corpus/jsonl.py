"""JSON lines, plain or compressed, read one line at a time."""

import json
import logging
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from realm_tf.data.corpus import decompressed_file
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

_ADVICE = "Correct the line, or pass `skip_bad=True` to skip invalid lines."


def read_jsonl(
    path: str | os.PathLike[str],
    *,
    parse: Callable[[dict[str, Any]], Any] | None = None,
    skip_bad: bool = False,
    decode: Callable[[bytes], dict[str, Any]] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Reads the objects of a JSON-lines file.

    gzip and bzip2 are recognised by the first bytes, not by the name. A
    byte-order mark at the start, CRLF line ends and blank lines hold no data
    and are passed over. A line is bad if it is no UTF-8, no JSON, no object,
    repeats a key, holds NaN, Infinity or half a surrogate pair, or is longer
    than `decompressed_file.MAX_LINE_BYTES`.

    Args:
        path: file to read.
        parse: function from the decoded object to what is wanted. It raises
            `ValueError` where the object is not acceptable.
        skip_bad: bool. Skip invalid lines and log how many there were, in
            place of stopping at the first.
        decode: function from a line of another format to an object.

    Yields:
        `(line, record)`: number of the line, and the object as a dict or what
        `parse` made of it.

    Raises:
        BadRecordError: at the first bad line unless `skip_bad`.
        ValueError: if compressed data are damaged or decompress without bound.
    """
    path = os.fspath(path)
    num_bad = 0
    with decompressed_file.DecompressedFile(path) as file:
        for number, line in file.lines():
            if not line.strip():
                continue
            try:
                record = (decode or decode_object)(line)
                if parse is not None:
                    record = parse(record)
            except ValueError as error:
                if not skip_bad:
                    raise BadRecordError(
                        path, number, str(error), _ADVICE
                    ) from error
                num_bad += 1
                continue
            yield number, record
    if num_bad:
        logger.warning("Skipped %d bad records of %s.", num_bad, path)


def decode_object(line: bytes) -> dict[str, Any]:
    """Decodes one JSON object from UTF-8, strictly.

    Args:
        line: bytes. The object; white space around it is allowed.

    Returns:
        dict. The object.

    Raises:
        ValueError: if `line` is no such object. The message ends in a full
            stop and names no file.
    """
    most = decompressed_file.MAX_LINE_BYTES
    if len(line) > most:
        raise ValueError(f"A line must not be longer than {most} bytes.")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"A line must be UTF-8. Received: {error}.") from error
    try:
        record = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_reject_constant,
        )
        if "\\u" in text:
            # An escape can spell half a pair, which nothing later can encode.
            json.dumps(record, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("JSON must not be nested so deeply.") from error
    except UnicodeEncodeError as error:
        raise ValueError(
            "Escaped surrogates must come in pairs. Received: "
            f"\\u{ord(error.object[error.start]):x} alone."
        ) from error
    except ValueError as error:
        raise ValueError(f"A line must be valid JSON. {error}.") from error
    if not isinstance(record, dict):
        raise ValueError(
            "A line must hold a JSON object. Received: "
            f"{type(record).__name__}."
        )
    return record


def text_field(
    record: dict[str, Any], name: str, default: str | None = None
) -> str:
    """Returns a text field of a record.

    Args:
        record: dict. A decoded object.
        name: str. The field.
        default: str or None. Value of an absent field; with None the field
            must be there.

    Returns:
        str. The field's value.

    Raises:
        ValueError: if the field is missing or holds something else.
    """
    value = record.get(name, default)
    if isinstance(value, str):
        return value
    if name in record:
        raise ValueError(
            f"`{name}` must be text. Received: {name}={reprlib.repr(value)}."
        )
    raise ValueError(
        f"`{name}` must be given. Received: fields "
        f"{reprlib.repr(sorted(record))}."
    )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        key, count = counts.most_common(1)[0]
        raise ValueError(
            f"Keys must not repeat. Received: {reprlib.repr(key)} {count} times"
        )
    return record


def _reject_constant(name: str) -> None:
    raise ValueError(f"Numbers must be finite. Received: {name}")
