"""DateNumberTagger: dates and numbers of English text, by rule."""

import re
from collections.abc import Sequence

from realm_tf.data.spans.salient_span import SalientSpan, from_characters
from realm_tf.data.spans.span_tagger import SpanTagger

DATE = "DATE"
NUMBER = "NUMBER"

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October"
    r"|November|December)"
)
_DAY = r"(?:[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1\d{3}|20\d{2})"
_DATES = "|".join(
    [
        rf"{_DAY} {_MONTH}(?:,? {_YEAR})?",
        rf"{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"{_MONTH},? {_YEAR}",
        rf"{_YEAR}[-–]\d\d(?:\d\d)?",
        r"\d{1,4} (?:BCE?|CE|AD)",
        rf"AD \d{{1,4}}|{_YEAR}s?",
        # "May" and "March" are words, too.
        rf"(?!May|March){_MONTH}",
        r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day",
        r"\d{1,2}(?:st|nd|rd|th) century",
    ]
)
_NUMBERS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
    r"|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty"
    r"|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
)
_SCALE = r"(?: (?:hundred|thousand|million|billion|trillion|percent|per cent))?"
_RULES = re.compile(
    rf"(?<![\w.,])(?:(?P<date>(?:{_DATES})(?!\w))"
    rf"|(?P<number>[$£€]?(?:{_NUMBERS})(?:%|{_SCALE}(?!\w))))"
)


class DateNumberTagger(SpanTagger):
    """Finds dates and numbers of English text by rule.

    Example:
    >>> [spans] = DateNumberTagger().tag(["On 3 May 1815 two of 1,200 left."])
    >>> [(span.start, span.end, span.label) for span in spans]
    [(3, 13, 'DATE'), (14, 17, 'NUMBER'), (21, 26, 'NUMBER')]
    """

    def tag(self, sentences: Sequence[str]) -> list[list[SalientSpan]]:
        return [_by_rule(sentence) for sentence in sentences]


def _by_rule(sentence: str) -> list[SalientSpan]:
    return from_characters(
        sentence,
        [
            (match.start(), match.end(), DATE if match["date"] else NUMBER)
            for match in _RULES.finditer(sentence)
        ],
    )
