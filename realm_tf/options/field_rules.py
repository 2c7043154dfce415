"""Which values the fields of an options dataclass may have."""

import dataclasses
import math
import numbers
import types
import typing
from typing import Any


def limited(
    default: Any, *, least: float | None = None, most: float | None = None
) -> Any:
    """A field whose number must be within limits, both included.

    Without limits an integer must be 1 or more, another number above 0.
    """
    limits = {"least": least, "most": most}
    return dataclasses.field(default=default, metadata=limits)


def kind(field: dataclasses.Field[Any]) -> Any:
    """The type of a field, without the None that it may allow."""
    if typing.get_origin(field.type) is types.UnionType:
        return typing.get_args(field.type)[0]
    return field.type


def choices(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The texts that a field may have; empty if they are not listed."""
    if typing.get_origin(kind(field)) is typing.Literal:
        return typing.get_args(kind(field))
    return ()


def check_fields(options: Any) -> None:
    """Checks numbers, booleans and choices, by the types of the fields.

    Raises:
        ValueError: at the first value that is not allowed.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value is None and kind(field) is not field.type:
            continue
        is_good, rule = _rule(field, value)
        if not is_good:
            raise ValueError(
                f"`{field.name}` must be {rule}. Received: "
                f"{field.name}={value!r}. Leave it out for {field.default!r}."
            )


def _rule(field: dataclasses.Field[Any], value: Any) -> tuple[bool, str]:
    """Whether a value is allowed, and which values are."""
    if choices(field):
        return value in choices(field), f"one of {', '.join(choices(field))}"
    if kind(field) is bool:
        return isinstance(value, bool), "True or False"
    if kind(field) is int:
        least = field.metadata.get("least", 1)
        is_good = _is_number(value, numbers.Integral) and value >= least
        return is_good, f"an integer of {least} or more"
    if kind(field) is float:
        least, most = map(field.metadata.get, ("least", "most"))
        is_number = _is_number(value, numbers.Real)
        if least is None:
            return is_number and value > 0, "a positive number"
        if most is None:
            return is_number and value >= least, f"a number of {least} or more"
        is_good = is_number and least <= value <= most
        return is_good, f"a number from {least} to {most}"
    return True, ""


def _is_number(value: Any, tower: type) -> bool:
    return (
        isinstance(value, tower)
        and not isinstance(value, bool)
        and math.isfinite(typing.cast(float, value))
    )
