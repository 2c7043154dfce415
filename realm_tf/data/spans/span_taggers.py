"""Salient spans: the names, dates and numbers of a sentence."""

import abc
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from realm_tf.data.text.sentences import byte_offsets

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


class Span(NamedTuple):
    """A part of a text.

    Args:
        start: first byte in the UTF-8 of the text.
        end: byte after the last.
        label: what it is, such as "PER" or `DATE`.
    """

    start: int
    end: int
    label: str


class SpanTagger(abc.ABC):
    """Abstract: finds the spans that are worth predicting."""

    @abc.abstractmethod
    def tag(self, sentences: Sequence[str]) -> list[list[Span]]:
        """Spans of each sentence, ascending, none overlapping another."""


class DateNumberTagger(SpanTagger):
    """Finds dates and numbers of English text by rule.

    Example:
    >>> [spans] = DateNumberTagger().tag(["On 3 May 1815 two of 1,200 left."])
    >>> [(span.start, span.end, span.label) for span in spans]
    [(3, 13, 'DATE'), (14, 17, 'NUMBER'), (21, 26, 'NUMBER')]
    """

    def tag(self, sentences: Sequence[str]) -> list[list[Span]]:
        return [_by_rule(sentence) for sentence in sentences]


class CombinedTagger(SpanTagger):
    """All that several taggers find; of what overlaps, the longest.

    Args:
        taggers: `SpanTagger`s. Of equally long spans, the first one's counts.
    """

    def __init__(self, taggers: Iterable[SpanTagger]):
        self.taggers = tuple(taggers)

    def tag(self, sentences: Sequence[str]) -> list[list[Span]]:
        found = [tagger.tag(sentences) for tagger in self.taggers]
        return [
            _without_overlap([span for spans in row for span in spans])
            for row in zip(*found, strict=True)
        ]


class SpacyTagger(SpanTagger):
    """The entities of a spaCy pipeline of yours.

    Args:
        pipeline: what `spacy.load` returns; anything with `pipe(texts)` whose
            documents have `ents` with `start_char`, `end_char`, `label_`.
        labels: labels to keep; default: all.

    Example:
    ```python
    tagger = SpacyTagger(spacy.load("en_core_web_sm"), {"PERSON", "GPE"})
    ```
    """

    def __init__(self, pipeline: Any, labels: Iterable[str] | None = None):
        self.pipeline = pipeline
        self.labels = None if labels is None else frozenset(labels)

    def tag(self, sentences: Sequence[str]) -> list[list[Span]]:
        documents = self.pipeline.pipe(sentences)
        return [
            from_characters(
                sentence,
                [
                    (entity.start_char, entity.end_char, entity.label_)
                    for entity in document.ents
                    if self.labels is None or entity.label_ in self.labels
                ],
            )
            for sentence, document in zip(sentences, documents, strict=True)
        ]


def from_characters(
    text: str, spans: Iterable[tuple[int, int, str]]
) -> list[Span]:
    """Spans whose places were counted in characters.

    Example:
    >>> from_characters("é 1815", [(2, 6, "DATE")])
    [Span(start=3, end=7, label='DATE')]
    """
    spans = list(spans)
    places = sorted(
        {place for start, end, _ in spans for place in (start, end)}
    )
    in_bytes = dict(zip(places, byte_offsets(text, places), strict=True))
    return [Span(in_bytes[a], in_bytes[b], label) for a, b, label in spans]


def tag_texts(
    tag: Callable[[Sequence[str]], list[list[Span]]],
    texts: Sequence[tuple[str, Sequence[int]]],
) -> list[list[Span]]:
    """Tags the sentences of texts; places are those in the texts.

    Args:
        tag: of a `SpanTagger`.
        texts: each a text, and the byte where each of its sentences begins.

    Returns:
        For each text its spans. None crosses the end of a sentence.
    """
    sentences: list[str] = []
    homes: list[tuple[int, int]] = []
    for number, (text, starts) in enumerate(texts):
        raw = text.encode()
        for start, end in zip(starts, [*starts[1:], len(raw)], strict=True):
            sentences.append(raw[start:end].decode().rstrip())
            homes.append((number, start))
    tagged: list[list[Span]] = [[] for _ in texts]
    for (number, first), spans in zip(homes, tag(sentences), strict=True):
        tagged[number] += [
            Span(first + start, first + end, label)
            for start, end, label in spans
        ]
    return tagged


def _by_rule(sentence: str) -> list[Span]:
    return from_characters(
        sentence,
        [
            (match.start(), match.end(), DATE if match["date"] else NUMBER)
            for match in _RULES.finditer(sentence)
        ],
    )


def _without_overlap(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start - span.end):
        if all(span.end <= k.start or k.end <= span.start for k in kept):
            kept.append(span)
    return sorted(kept)
