"""SpanTagger: finds salient spans in sentences."""

import abc
from collections.abc import Callable, Sequence

from realm_tf.data.spans.salient_span import SalientSpan


class SpanTagger(abc.ABC):
    """Abstract: finds the spans that are worth predicting."""

    @abc.abstractmethod
    def tag(self, sentences: Sequence[str]) -> list[list[SalientSpan]]:
        """Spans of each sentence, ascending, none overlapping another."""


def tag_texts(
    tag: Callable[[Sequence[str]], list[list[SalientSpan]]],
    texts: Sequence[tuple[str, Sequence[int]]],
) -> list[list[SalientSpan]]:
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
    tagged: list[list[SalientSpan]] = [[] for _ in texts]
    for (number, first), spans in zip(homes, tag(sentences), strict=True):
        tagged[number] += [
            SalientSpan(first + start, first + end, label)
            for start, end, label in spans
        ]
    return tagged
