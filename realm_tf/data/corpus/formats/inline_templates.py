"""What the common inline templates of Wikipedia print."""

from collections.abc import Callable, Sequence

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_MAX_NAME = 100
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
    first, *fields = inside.split("|")
    name = template_name(first)
    if name == "formatnum":
        return first.partition(":")[2].strip()
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
    if name.startswith(("lang-", "script/")):
        return _at(given, 0)
    if name in _SIGNS:
        return _SIGNS[name]
    function = _TEMPLATES.get(name)
    return function(given, named) if function else ""


def template_name(inside: str) -> str:
    """The name of a template or parser function, as names are compared.

    Example:
    >>> template_name("Birth_date |1775"), template_name("formatnum:1,000")
    ('birth date', 'formatnum')
    """
    name = inside.partition("|")[0][:_MAX_NAME].replace("_", " ").lower()
    before, colon, after = name.partition(":")
    is_function = before.strip().startswith(("#", "formatnum"))
    if colon and (is_function or before.strip() == "template"):
        name = before if is_function else after
    return " ".join(name.split())


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


def _joined(given: Sequence[str], named: dict[str, str]) -> str:
    return "".join(given)


def _listed(given: Sequence[str], named: dict[str, str]) -> str:
    return ", ".join(filter(None, given))


def _two(given: Sequence[str], named: dict[str, str]) -> str:
    return " ".join(given[:2])


def _quote(given: Sequence[str], named: dict[str, str]) -> str:
    return named.get("text") or named.get("quote") or _at(given, 0)


def _enclosed(before: str, after: str = "") -> "_Function":
    """A sign before the first field, or one on each side."""

    def function(given: Sequence[str], named: dict[str, str]) -> str:
        return f"{before}{given[0]}{after}" if given else ""

    return function


def _as_of(given: Sequence[str], named: dict[str, str]) -> str:
    if "alt" in named:
        return named["alt"]
    words = "Since" if named.get("since") else "As of"
    words = words.lower() if named.get("lc") else words
    date = _date(given, {"df": "y"})
    return f"{words} {date}{named.get('post', '')}" if date else ""


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
# Templates without fields.
_SIGNS = {
    **dict.fromkeys(("nbsp", "space", "spaces", "thinsp", "hairsp"), " "),
    **dict.fromkeys(("snd", "spnd", "spaced ndash", "spaced en dash"), " – "),
    **dict.fromkeys(("mdash", "mdashb", "em dash"), "—"),
    **dict.fromkeys(("ndash", "en dash"), "–"),
    **dict.fromkeys(("'s", "’s"), "'s"),
    **dict.fromkeys(("dot", "·", "•"), " · "),
    **{"'": "'", "!": "|", "=": "=", "pi": "π"},
}
_SHIPS = ("HMS", "USS", "SS", "RMS", "HMAS", "HMCS", "SMS", "MS", "MV", "USNS")
_TEMPLATES: dict[str, _Function] = {
    **dict.fromkeys(
        (
            *("nowrap", "nobr", "nobold", "noitalic", "small", "smaller"),
            *("big", "abbr", "sic", "ill", "interlanguage link", "nihongo"),
            *("em", "strong", "keypress", "mono", "code", "linktext", "sc"),
            *("smallcaps", "sup", "sub", "math", "mvar", "var", "tooltip"),
            *("vanchor", "visible anchor", "flag", "flagu", "flagcountry"),
            *("railgauge", "track gauge", "format price", "nq", "nastaliq"),
            *("nts", "formatnum", "chem2", "start-date", "end-date"),
            *("birth year and age", "death year and age", "birth-date"),
            *("death-date",),
        ),
        _first,
    ),
    **dict.fromkeys(
        ("lang", "langx", "native name", "rtl-lang", "script", "wikt-lang"),
        _second,
    ),
    **dict.fromkeys(("transl", "transliteration"), _last),
    **dict.fromkeys(("circa", "c.", "ca."), _circa),
    **dict.fromkeys(("convert", "cvt"), _convert),
    **dict.fromkeys(
        (
            *("birth date", "birth date and age", "death date", "bda", "dob"),
            *("death date and age", "start date", "end date", "film date"),
            *("start date and age", "dts"),
        ),
        _date,
    ),
    **dict.fromkeys(("frac", "fraction", "sfrac"), _fraction),
    **dict.fromkeys(("as of", "asof"), _as_of),
    **dict.fromkeys(("quote", "blockquote", "cquote"), _quote),
    **dict.fromkeys(("hlist", "plainlist", "ubl", "unbulleted list"), _listed),
    **dict.fromkeys(("ship", "oldstyledate", "bibleref", "bibleverse"), _two),
    **{name.lower(): _enclosed(f"{name} ") for name in _SHIPS},
    **{"us$": _enclosed("US$"), "a$": _enclosed("A$"), "inr": _enclosed("₹")},
    **dict.fromkeys(("gbp", "£", "pound sterling"), _enclosed("£")),
    **dict.fromkeys(("eur", "€", "euro"), _enclosed("€")),
    **dict.fromkeys(("jpy", "¥", "yen"), _enclosed("¥")),
    **dict.fromkeys(("angbr", "angle bracket"), _enclosed("⟨", "⟩")),
    "e": _enclosed("×10^"),
    "chem": _joined,
    "val": _value,
}
