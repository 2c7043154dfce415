"""Sentences with named entities: files, labels of wordpieces, F1."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from realm_tf.data.corpus.jsonl import read_jsonl
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.text.featurizer import Featurizer, Tokens

ENTITY_TYPES = ("PER", "LOC", "ORG", "MISC")
OUTSIDE = 0
IGNORED = -1
"""Label of tokens without a loss: all but the first of a word."""


@dataclasses.dataclass(frozen=True)
class EntitySentence:
    """A sentence whose entities are known.

    Args:
        text: its words, with a space between them.
        spans: its entities; bytes in `text`.
        unknown: spans of other types, which are neither right nor wrong.
    """

    text: str
    spans: tuple[SalientSpan, ...]
    unknown: tuple[SalientSpan, ...] = ()


def read_entities(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    types: Sequence[str] = ENTITY_TYPES,
) -> list[EntitySentence]:
    """Reads JSON lines of `{"tokens", "tags", "split"}`, tags in BIO.

    Args:
        path: file; `.gz` is decompressed.
        split: keep the records of this split only.
        types: of entities. Others, such as dates, become `unknown`.

    Raises:
        BadRecordError: if a record is not of this form.
    """
    return [
        _sentence(record, types)
        for _, record in read_jsonl(path, parse=_checked)
        if split is None or record.get("split") == split
    ]


def label_names(types: Sequence[str] = ENTITY_TYPES) -> list[str]:
    """Labels of wordpieces, in order: O, then B and I of every type.

    Example:
    >>> label_names(["PER"])
    ['O', 'B-PER', 'I-PER']
    """
    return ["O", *(f"{part}-{kind}" for kind in types for part in "BI")]


def wordpiece_labels(
    sentence: EntitySentence,
    wordpieces: tuple[np.ndarray, np.ndarray, np.ndarray],
    featurizer: Featurizer,
    labels: Sequence[str],
) -> np.ndarray:
    """Label of every token; only the first token of a word has a label.

    Args:
        sentence: `EntitySentence`.
        wordpieces: of its text, see `Tokens.row`.
        featurizer: `Featurizer` that made them.
        labels: see `label_names`.

    Returns:
        int32 `(num_wordpieces,)`.
    """
    ids, starts, _ = wordpieces
    result = np.full(len(ids), OUTSIDE, np.int32)
    for span in (*sentence.spans, *sentence.unknown):
        inside = (starts >= span.start) & (starts < span.end)
        if span in sentence.unknown:
            result[inside] = IGNORED
            continue
        result[inside] = labels.index(f"I-{span.label}")
        result[starts == span.start] = labels.index(f"B-{span.label}")
    result[~begins_word(ids, featurizer)] = IGNORED
    return result


def begins_word(ids: np.ndarray, featurizer: Featurizer) -> np.ndarray:
    """Which wordpieces are the first of their word."""
    words = featurizer.vocabulary
    return np.array([not words[i].startswith("##") for i in ids], bool)


def decode_labels(
    labels: Sequence[str],
    chosen: np.ndarray,
    wordpieces: tuple[np.ndarray, np.ndarray, np.ndarray],
    featurizer: Featurizer,
) -> list[SalientSpan]:
    """The entities that labels of wordpieces spell.

    An entity begins at B, or at an I that continues nothing. Only the first
    piece of a word has a say.

    Args:
        labels: see `label_names`.
        chosen: int `(num_wordpieces,)`, places in `labels`.
        wordpieces: see `wordpiece_labels`.
        featurizer: `Featurizer` that made them.
    """
    ids, starts, ends = wordpieces
    spans: list[SalientSpan] = []
    open_type = ""
    firsts = begins_word(ids, featurizer)
    for i in range(len(chosen)):
        if firsts[i]:
            part, _, kind = labels[chosen[i]].partition("-")
            if part == "B" or (part == "I" and kind != open_type):
                spans.append(SalientSpan(int(starts[i]), int(ends[i]), kind))
            open_type = kind
        if open_type:
            spans[-1] = spans[-1]._replace(end=int(ends[i]))
    return spans


def entity_f1(
    gold: Iterable[EntitySentence], found: Iterable[Sequence[SalientSpan]]
) -> dict[str, float]:
    """Precision, recall and F1 of entities: bounds and type must be right.

    What overlaps a span of unknown type is not counted.

    Example:
    >>> spans = SalientSpan(0, 1, "PER"), SalientSpan(2, 3, "LOC")
    >>> found = [SalientSpan(0, 1, "PER"), SalientSpan(2, 3, "ORG")]
    >>> entity_f1([EntitySentence("a b c", spans)], [found])["f1"]
    0.5
    """
    num_gold = num_found = num_right = 0
    for sentence, spans in zip(gold, found, strict=True):
        counted = {
            span
            for span in spans
            if all(
                span.end <= other.start or other.end <= span.start
                for other in sentence.unknown
            )
        }
        num_gold += len(sentence.spans)
        num_found += len(counted)
        num_right += len(counted & set(sentence.spans))
    return {
        "precision": num_right / max(1, num_found),
        "recall": num_right / max(1, num_gold),
        "f1": 2 * num_right / max(1, num_gold + num_found),
        "num_entities": float(num_gold),
    }


def rows(tokens: Tokens) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, starts and ends of every text."""
    return [tokens.row(i) for i in range(len(tokens.row_splits) - 1)]


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    words, tags = record.get("tokens"), record.get("tags")
    if not (
        isinstance(words, list)
        and isinstance(tags, list)
        and len(words) == len(tags)
        and all(isinstance(x, str) for x in (*words, *tags))
    ):
        raise ValueError(
            "A record must have as many `tags` as `tokens`, all of them texts. "
            f"Received: {record!r:.200}."
        )
    return record


def _sentence(record: dict[str, Any], types: Sequence[str]) -> EntitySentence:
    words, tags = record["tokens"], record["tags"]
    spans: list[SalientSpan] = []
    place = 0
    before = "O"
    for word, tag in zip(words, tags, strict=True):
        end = place + len(word.encode())
        part, _, kind = tag.partition("-")
        if part == "I" and before == kind:
            spans[-1] = spans[-1]._replace(end=end)
        elif part in ("B", "I"):
            spans.append(SalientSpan(place, end, kind))
        before = kind
        place = end + 1
    return EntitySentence(
        " ".join(words),
        tuple(span for span in spans if span.label in types),
        tuple(span for span in spans if span.label not in types),
    )
