"""Facts about a folder, for people or for programs."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import rich.table
import rich.text

from realm_tf.cli.ui import console

_HASH_CHARACTERS = 16  # enough to compare two by eye


def show_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Prints names and values, as a table or as one JSON object."""
    if as_json:
        console.print_json(facts)
        return
    table = rich.table.Table.grid(padding=(0, 2))
    for name, value in facts.items():
        words = name.removeprefix("num_").removesuffix("_bytes")
        words = words.replace("_", " ")
        table.add_row(words, console.neutralise(_readable(name, value)))
    console.stdout().print(table)


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Prints figures below a title; the first cell of a row is its name."""
    table = rich.table.Table(box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(console.neutralise(_figure(cell)) for cell in row))
    console.stdout().print(rich.text.Text(f"\n{title}", "bold"))
    console.stdout().print(table)


def folder_bytes(folder: str | os.PathLike[str]) -> int:
    """Bytes of all files below a folder."""
    files = pathlib.Path(folder).rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _figure(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _readable(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "bytes" or name.endswith("_bytes"):
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
