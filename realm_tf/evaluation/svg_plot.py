"""Plots of shares, as SVG that stands in an HTML page."""

import html
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_COLOURS = ("#1f6feb", "#d1570c", "#1a7f37", "#8250df")
_WIDTH, _HEIGHT = 440, 320  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 32, 48
_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def svg_plot(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_ticks: Sequence[float] = _SHARES,
    is_log: bool = False,
    has_diagonal: bool = False,
) -> str:
    """Draws lines whose y are shares, from 0 to 1.

    Args:
        title: over the plot.
        x_label: below the x axis.
        y_label: beside the y axis.
        lines: name -> points (x, y), in the order of x.
        x_ticks: ascending; the first and the last are the ends of the axis.
        is_log: the x axis is logarithmic.
        has_diagonal: a dashed line joins the corners.

    Returns:
        An `<svg>` element. All texts are escaped.
    """
    scale = math.log if is_log else float
    first, last = scale(x_ticks[0]), scale(x_ticks[-1])
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        share = (scale(x) - first) / ((last - first) or 1.0)
        return _LEFT + share * width, _TOP + (1 - y) * height

    parts = [_text(_LEFT, 20, title, "start", "font-weight='bold'")]
    for y in _SHARES:
        parts.append(_line([place(x_ticks[0], y), place(x_ticks[-1], y)], "g"))
        parts.append(_text(_LEFT - 8, place(x_ticks[0], y)[1] + 4, f"{y:g}"))
    for x in x_ticks:
        middle, bottom = place(x, 0)
        parts.append(_text(middle, bottom + 18, f"{x:g}", "middle"))
    if has_diagonal:
        corners = [place(x_ticks[0], 0), place(x_ticks[-1], 1)]
        parts.append(_line(corners, "d"))
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 10, x_label, "middle"))
    middle = _TOP + height / 2
    turned = f"transform='rotate(-90 14 {middle:g})'"
    parts.append(_text(14, middle, y_label, "middle", turned))
    for colour, points in zip(_colours(lines), lines.values(), strict=True):
        places = [place(x, y) for x, y in points]
        parts.append(_line(places, "l", f"stroke='{colour}'"))
        parts += [
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>"
            for x, y in places
        ]
    if len(lines) > 1:
        parts.append(_legend(lines))
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' role='img' "
        f"aria-label='{html.escape(title)}'>{''.join(parts)}</svg>"
    )


def _colours(lines: Mapping[str, Any]) -> Iterator[str]:
    return itertools.islice(itertools.cycle(_COLOURS), len(lines))


def _legend(lines: Mapping[str, Any]) -> str:
    names = " \u00a0".join(
        f"<tspan style='fill:{colour}'>{html.escape(name)}</tspan>"
        for colour, name in zip(_colours(lines), lines, strict=True)
    )
    return (
        f"<text x='{_WIDTH - _RIGHT}' y='20' text-anchor='end'>{names}</text>"
    )


def _line(
    places: Sequence[tuple[float, float]], kind: str, style: str = ""
) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f"<polyline class='{kind}' points='{points}' {style}/>"


def _text(
    x: float, y: float, text: str, anchor: str = "end", style: str = ""
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {style}>"
        f"{html.escape(text)}</text>"
    )
