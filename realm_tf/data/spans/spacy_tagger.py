"""SpacyTagger: the entities of a spaCy pipeline."""

from collections.abc import Iterable, Sequence
from typing import Any

from realm_tf.data.spans.salient_span import SalientSpan, from_characters
from realm_tf.data.spans.span_tagger import SpanTagger


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

    def tag(self, sentences: Sequence[str]) -> list[list[SalientSpan]]:
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
