"""CombinedTagger: all that several taggers find."""

from collections.abc import Iterable, Sequence

from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.span_tagger import SpanTagger


class CombinedTagger(SpanTagger):
    """The spans of several taggers; of overlapping spans, the longest.

    Args:
        taggers: `SpanTagger`s. Of equally long spans, the first one's counts.
    """

    def __init__(self, taggers: Iterable[SpanTagger]):
        self.taggers = tuple(taggers)

    def tag(self, sentences: Sequence[str]) -> list[list[SalientSpan]]:
        found = [tagger.tag(sentences) for tagger in self.taggers]
        return [
            _without_overlap([span for spans in row for span in spans])
            for row in zip(*found, strict=True)
        ]


def _without_overlap(spans: list[SalientSpan]) -> list[SalientSpan]:
    kept: list[SalientSpan] = []
    for span in sorted(spans, key=lambda span: span.start - span.end):
        if all(span.end <= k.start or k.end <= span.start for k in kept):
            kept.append(span)
    return sorted(kept)
