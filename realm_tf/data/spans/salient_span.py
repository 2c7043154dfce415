"""SalientSpan: a name, date or number in a text."""

from collections.abc import Iterable
from typing import NamedTuple

from realm_tf.data.text.sentences import byte_offsets


class SalientSpan(NamedTuple):
    """A name, date or number in a text.

    Args:
        start: first byte in the UTF-8 of the text.
        end: byte after the last.
        label: what it is, such as "PER" or `DATE`.
    """

    start: int
    end: int
    label: str


def from_characters(
    text: str, spans: Iterable[tuple[int, int, str]]
) -> list[SalientSpan]:
    """Spans whose places were counted in characters.

    Example:
    >>> from_characters("é 1815", [(2, 6, "DATE")])
    [SalientSpan(start=3, end=7, label='DATE')]
    """
    spans = list(spans)
    places = sorted(
        {place for start, end, _ in spans for place in (start, end)}
    )
    in_bytes = dict(zip(places, byte_offsets(text, places), strict=True))
    return [
        SalientSpan(in_bytes[a], in_bytes[b], label) for a, b, label in spans
    ]
