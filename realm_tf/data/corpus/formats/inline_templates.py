"""What the common inline templates of Wikipedia print."""

from collections.abc import Callable, Sequence

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_BETWEEN = {"to": "to", "and": "and", "or": "or", "by": "by", "-": "–"}
_BETWEEN |= {"–": "–", "to(-)": "–", "x": "×", "×": "×"}


def printed(inside: str) -> str:
    """What a template prints; "" for one that is not in the table.

    Args:
        inside: what stands between the braces, templates and links in it
            resolved.

    Example:
    >>> printed("convert|300|m|ft"), printed("birth date|1775|12|16")
    ('300 m', 'December 16, 1775')
    >>> printed("citation needed|date=May 2010")
    ''
    """
    name, *fields = inside.split("|")
    name = " ".join(name.replace("_", " ").lower().split())
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:").strip()
    named = {}
    given = []
    for field in fields:
        key, equals, value = field.partition("=")
        if equals and key.strip().isidentifier():
            named[key.strip()] = value.strip()
        elif equals and key.strip().isdigit():
            given.append(value.strip())
        else:
            given.append(field.strip())
    if name.startswith("lang-"):
        return _at(given, 0)
    function = _TEMPLATES.get(name)
    return function(given, named) if function else ""


def _at(given: Sequence[str], place: int) -> str:
    return given[place] if place < len(given) else ""


def _first(given: Sequence[str], named: dict[str, str]) -> str:
    return _at(given, 0)


def _second(given: Sequence[str], named: dict[str, str]) -> str:
    return _at(given, 1)


def _last(given: Sequence[str], named: dict[str, str]) -> str:
    return given[-1] if given else ""


def _circa(given: Sequence[str], named: dict[str, str]) -> str:
    return " ".join(["c.", "–".join(given)]).strip()


def _convert(given: Sequence[str], named: dict[str, str]) -> str:
    """The quantity and its unit, without the conversion."""
    words = [_at(given, 0)]
    place = 1
    while _at(given, place) in _BETWEEN and _at(given, place + 1):
        words += [_BETWEEN[given[place]], given[place + 1]]
        place += 2
    return " ".join([*words, _at(given, place)]).strip()


def _date(given: Sequence[str], named: dict[str, str]) -> str:
    year, month, day = (_at(given, place) for place in range(3))
    if month.isdigit() and 1 <= int(month) <= len(_MONTHS):
        month = _MONTHS[int(month) - 1]
    if not month or not day:
        return f"{month} {year}".strip()
    is_day_first = named.get("df", "").lower() in ("y", "yes")
    day = day.lstrip("0")
    return f"{day} {month} {year}" if is_day_first else f"{month} {day}, {year}"


def _fraction(given: Sequence[str], named: dict[str, str]) -> str:
    if len(given) == 1:
        return f"1/{given[0]}"
    *whole, above, below = given if given else ("", "")
    return " ".join([*whole, f"{above}/{below}"]) if given else ""


def _value(given: Sequence[str], named: dict[str, str]) -> str:
    number = _at(given, 0)
    if _at(given, 1):
        number += f"±{given[1]}"
    return f"{number} {named.get('u') or named.get('ul') or ''}".strip()


_Function = Callable[[Sequence[str], dict[str, str]], str]
_TEMPLATES: dict[str, _Function] = {
    **dict.fromkeys(
        (
            *("nowrap", "nobr", "nobold", "noitalic", "small", "smaller"),
            *("big", "abbr", "sic", "ill", "interlanguage link", "nihongo"),
            *("em", "strong", "keypress", "mono", "code", "linktext"),
        ),
        _first,
    ),
    **dict.fromkeys(("lang", "native name"), _second),
    **dict.fromkeys(("transl", "transliteration"), _last),
    **dict.fromkeys(("circa", "c.", "ca."), _circa),
    **dict.fromkeys(("convert", "cvt"), _convert),
    **dict.fromkeys(
        (
            *("birth date", "birth date and age", "death date", "bda", "dob"),
            *("death date and age", "start date", "end date", "film date"),
            *("start date and age", "birth-date", "death-date"),
        ),
        _date,
    ),
    **dict.fromkeys(("frac", "fraction", "sfrac"), _fraction),
    "val": _value,
}
