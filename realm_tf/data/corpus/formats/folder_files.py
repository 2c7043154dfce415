"""Which files of a folder hold articles, and why the others do not."""

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from realm_tf._manifest import MANIFEST_NAME
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats.tables import has_text_column

_START_BYTES = 2**16
# Names of files that other tools put beside documents.
_OTHER_NAMES = {
    "package.json": "of npm",
    "package-lock.json": "of npm",
    "composer.json": "of Composer",
    "tsconfig.json": "of TypeScript",
    "queries.jsonl": "questions, not documents",
    "queries.tsv": "questions, not documents",
    MANIFEST_NAME: "a manifest",
}
_OTHER_FOLDERS = {
    "qrels": "judgements, not documents",
    "node_modules": "of npm",
    "__pycache__": "of Python",
}
_OWN_KEYS = {"kind", "format_version", "library_version"}


class LeftOut(NamedTuple):
    """A file or folder that holds no articles.

    Args:
        path: where it is.
        why: in a few words.
    """

    path: pathlib.Path
    why: str


def list_folder(
    folder: pathlib.Path,
    detect: Callable[[pathlib.Path], str | None],
    root: pathlib.Path | None = None,
) -> Iterator[tuple[pathlib.Path, str] | LeftOut]:
    """The files below a folder in the order of their paths.

    Files and folders whose names begin with a dot are passed over. Links that
    lead out of the folder, or to folders, are not followed.

    Args:
        folder: the folder.
        detect: name of a file's format, or None.
        root: the folder that the first call was for.

    Yields:
        Path and format of a file with articles, or `LeftOut`.
    """
    root = root or folder.resolve()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if why := why_no_link(path, root):
            yield LeftOut(path, why)
        elif path.is_dir():
            why = _OTHER_FOLDERS.get(path.name) or _own_folder(path)
            if why:
                yield LeftOut(path, why)
            else:
                yield from list_folder(path, detect, root)
        elif path.is_file():
            yield _checked(path, detect)
        else:
            yield LeftOut(path, "no file, or a link to none")


def _checked(
    path: pathlib.Path, detect: Callable[[pathlib.Path], str | None]
) -> tuple[pathlib.Path, str] | LeftOut:
    if not os.access(path, os.R_OK):
        return LeftOut(path, "not readable")
    name = path.name.lower().removesuffix(".gz").removesuffix(".bz2")
    if name in _OTHER_NAMES:
        return LeftOut(path, _OTHER_NAMES[name])
    format = detect(path)
    if format is None:
        kind = path.suffix.lower() or "without a suffix"
        return LeftOut(path, f"{kind} is not read")
    if why := _other_content(path, format):
        return LeftOut(path, why)
    return path, format


def has_body(record: dict[str, Any]) -> bool:
    """Whether the text of a record is its `body`, as in ORQA's files."""
    return "text" not in record and isinstance(record.get("body"), str)


def why_no_link(path: pathlib.Path, root: pathlib.Path) -> str:
    """Why a link below a folder is not followed; "" where it is, or is none.

    Args:
        path: in the folder.
        root: the folder, resolved.
    """
    if not path.is_symlink():
        return ""
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # of a circle
        return "a link to itself"
    if not target.is_relative_to(root):
        return "a link out of the folder; name the file itself"
    return "a link to a folder" if target.is_dir() else ""


def _own_folder(path: pathlib.Path) -> str:
    """What a folder of this library is; "" for others."""
    manifest = path / MANIFEST_NAME
    try:
        content = json.loads(manifest.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    is_own = isinstance(content, dict) and _OWN_KEYS <= content.keys()
    return f"a folder of realm_tf, {content['kind']}" if is_own else ""


def _other_content(path: pathlib.Path, format: str) -> str:
    """Why a file whose name is one of documents holds none; "" if it may."""
    if format not in ("jsonl", "json", "csv", "tsv"):
        return ""
    with DecompressedFile(path) as file:
        start = file.read(_START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    first = start.partition(b"\n")[0]
    if format == "csv":
        is_text = not start or has_text_column(first, ",")
        return "" if is_text else "no column is named text"
    if format == "tsv":
        is_qrels = first.lower().startswith((b"query-id\t", b"query_id\t"))
        return "judgements, not documents" if is_qrels else ""
    record = _first_record(start)
    is_other = isinstance(record, dict) and not (
        "text" in record or has_body(record)
    )
    return "its first record has no text" if is_other else ""


def _first_record(start: bytes) -> Any:
    """The first object; None where it is longer, or no JSON."""
    text = start.decode("utf-8", "replace")
    if text.startswith("["):
        text = text[1:].lstrip()
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
