"""Facts about a folder, for people or for programs."""

import os
import pathlib
from typing import Any

import rich.table

from realm_tf.cli.ui import console

_HASH_CHARACTERS = 16  # enough to compare two by eye


def show_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Prints names and values, as a table or as one JSON object."""
    if as_json:
        console.print_json(facts)
        return
    table = rich.table.Table.grid(padding=(0, 2))
    for name, value in facts.items():
        words = name.removeprefix("num_").replace("_", " ")
        table.add_row(words, console.neutralise(_readable(name, value)))
    console.stdout().print(table)


def folder_bytes(folder: str | os.PathLike[str]) -> int:
    """Bytes of all files below a folder."""
    files = pathlib.Path(folder).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _readable(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {_readable('', v)}" for key, v in value.items()
        )
    if isinstance(value, list):
        return ", ".join(_readable("", item) for item in value)
    text = str(value)
    is_hash = len(text) == 64 and text.isalnum()
    return text[:_HASH_CHARACTERS] if is_hash else text
