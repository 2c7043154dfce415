"""Options of commands, made from the classes in `realm_tf.options`.

So Python and the command line have one default and one text for each.
"""

import dataclasses
import inspect
import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import click

from realm_tf.cli.ui.options import FILE, Decorator
from realm_tf.options.field_rules import choices, kind

_T = TypeVar("_T")


def class_options(
    options: type,
    *names: str,
    flags: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Decorator:
    """Adds an option for each field of a class.

    Args:
        options: dataclass of `realm_tf.options`.
        *names: the fields. Default: all.
        flags: field -> flag, where the flag has another name.
        defaults: field -> default, where the command has another one.
    """
    fields = {f.name: f for f in dataclasses.fields(options)}
    names = names or tuple(fields)
    chosen = {name: f"--{name.replace('_', '-')}" for name in names}
    chosen |= flags or {}
    texts = descriptions(options)

    def add(command: Any) -> Any:
        for name in reversed(names):
            field = fields[name]
            default = (defaults or {}).get(name, field.default)
            flag = chosen[name]
            is_switch = kind(field) is bool
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if is_switch else flag,
                name,
                type=None if is_switch else _type(field),
                default=default,
                show_default=default not in (None, False),
                help=_for_commands(texts.get(name, ""), chosen),
            )(command)
        return command

    return add


def make(options: type[_T], values: Mapping[str, Any], **more: Any) -> _T:
    """An object of a class, of what a command was given.

    Args:
        options: dataclass of `realm_tf.options`.
        values: parameters of the command; those of other classes are ignored.
        **more: fields by name.
    """
    names = {f.name for f in dataclasses.fields(options)}  # type: ignore[arg-type]
    given = {name: values[name] for name in names & values.keys()}
    return options(**given | more)


def descriptions(options: type) -> dict[str, str]:
    """Field -> its text in the docstring of the class."""
    _, _, rest = inspect.cleandoc(options.__doc__ or "").partition("Args:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in rest.partition("\n\n")[0].splitlines():
        start = re.match(r" {4}(\w+): ", line)
        if start:
            name = start[1]
            texts[name] = line[start.end() :]
        else:
            texts[name] += f" {line.strip()}"
    return texts


def _type(field: dataclasses.Field[Any]) -> Any:
    if choices(field):
        return click.Choice(choices(field))
    return FILE if kind(field) is pathlib.Path else kind(field)


def _for_commands(text: str, flags: Mapping[str, str]) -> str:
    """A text as a sentence, with flags in place of fields."""

    def flag(match: re.Match[str]) -> str:
        return flags.get(match[1], match[0])

    return text[:1].upper() + re.sub(r"`(\w+)`", flag, text[1:])
