"""What a folder is that holds no checkpoint, and which command takes it."""

import json
import pathlib
from collections.abc import Iterator

from realm_tf._manifest import MANIFEST_NAME

_MAX_LISTED = 5
_OF_KIND = {
    "preset": "It is imported already: pass it as the preset.",
    "corpus": "Build an index of it: `realm-tf index build`.",
    "index": "Use it with its preset: `realm-tf ask --preset`.",
    "tagger": "Use it to find spans: `realm-tf spans`.",
}
# Files that tell what a folder is, and what to do with it.
_MARKS = (
    ("bundle.json", "Serve it: `realm-tf serve`."),
    ("saved_model.pb", "An exported model has no variables to import."),
    ("config.json", "Download its weights too, or the whole repository."),
    ("model.safetensors", "Download its config.json too."),
    ("pytorch_model.bin", "Download its config.json too."),
    ("tf_model.h5", "Take the weights as model.safetensors."),
    ("flax_model.msgpack", "Take the weights as model.safetensors."),
    ("corpus.jsonl", "Documents go to `realm-tf corpus build`."),
    ("queries.jsonl", "Questions go to `realm-tf questions`."),
)
_DOCUMENTS = (".jsonl", ".tsv", ".txt", ".xml", ".bz2", ".gz")


def describe(path: pathlib.Path) -> str:
    """What a path holds and what to do with it: the end of a message.

    Args:
        path: one that is no checkpoint.
    """
    if path.is_file():
        return "a file. Name the folder of a checkpoint, or its prefix."
    if not path.is_dir():
        return "which does not exist. Check the path."
    names = sorted(child.name for child in path.iterdir())
    found = ", ".join(names[:_MAX_LISTED]) or "nothing"
    more = len(names) - _MAX_LISTED
    found += f" and {more} more" if more > 0 else ""
    return f"a folder with {found}. {_advice(path, names)}"


def _advice(path: pathlib.Path, names: list[str]) -> str:
    if kind := _own_kind(path):
        return f"It is a folder of realm_tf, {kind}. {_OF_KIND.get(kind, '')}"
    if prefixes := list(_prefixes(path)):
        return f"Name one of its checkpoints: {', '.join(prefixes)}."
    for name, advice in _MARKS:
        if name in names:
            return advice
    if any(name.endswith(_DOCUMENTS) for name in names):
        return "Documents go to `realm-tf corpus build`."
    return "Download the whole folder of a checkpoint."


def _own_kind(path: pathlib.Path) -> str:
    try:
        content = json.loads((path / MANIFEST_NAME).read_text("utf-8"))
        return str(content["kind"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return ""


def _prefixes(path: pathlib.Path) -> Iterator[str]:
    """Of the TensorFlow checkpoints in a folder, a few."""
    for index in sorted(path.glob("*.index"))[:_MAX_LISTED]:
        yield str(index.with_suffix(""))
