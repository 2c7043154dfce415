import json

import numpy as np
import pytest

from realm_tf.data.spans.entities import (
    EntitySentence,
    begins_word,
    decode_labels,
    entity_f1,
    label_names,
    read_entities,
    rows,
    wordpiece_labels,
)
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.errors import BadRecordError

RECORDS = [
    {
        "id": "a",
        "tokens": ["Zoë", "left", "New", "York", "in", "1815"],
        "tags": ["B-PER", "O", "B-LOC", "I-LOC", "O", "B-TIME"],
        "split": "train",
    },
    {"id": "b", "tokens": ["x"], "tags": ["I-ORG"], "split": "test"},
]
ZOE = (SalientSpan(0, 4, "PER"), SalientSpan(10, 18, "LOC"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ner.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in RECORDS), "utf-8")
    return path


def test_records_become_spans_in_bytes(file):
    first, second = read_entities(file)
    text = "Zoë left New York in 1815"
    assert first == EntitySentence(text, ZOE, (SalientSpan(22, 26, "TIME"),))
    assert second.spans == (SalientSpan(0, 1, "ORG"),)
    assert read_entities(file, split="test") == [second]
    [timed] = read_entities(file, split="train", types=["TIME"])
    assert timed.spans == (SalientSpan(22, 26, "TIME"),)
    assert timed.unknown == ZOE


@pytest.mark.parametrize(
    "record",
    [
        {"tokens": ["a"]},
        {"tokens": ["a"], "tags": []},
        {"tokens": [1], "tags": ["O"]},
    ],
)
def test_bad_records_are_refused(tmp_path, record):
    path = tmp_path / "ner.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(BadRecordError, match="as many `tags` as `tokens`"):
        read_entities(path)


def test_labels_and_back(file, featurizer):
    labels = label_names()
    sentence, _ = read_entities(file)
    [wordpieces] = rows(featurizer.tokenize([sentence.text]))
    chosen = wordpiece_labels(sentence, wordpieces, featurizer, labels)
    firsts = begins_word(wordpieces[0], featurizer)
    assert (chosen[~firsts] == -1).all()
    spelled = [labels[i] for i in chosen[firsts] if i >= 0]
    assert spelled == ["B-PER", "O", "B-LOC", "I-LOC", "O"]
    decoded = decode_labels(
        labels, np.maximum(chosen, 0), wordpieces, featurizer
    )
    assert tuple(decoded) == ZOE


def test_i_that_continues_nothing_begins(featurizer):
    labels = label_names(["PER", "LOC"])
    [wordpieces] = rows(featurizer.tokenize(["in in in in in"]))
    chosen = np.array(
        [labels.index(x) for x in ("I-PER", "I-LOC", "I-LOC", "O", "I-LOC")]
    )
    assert decode_labels(labels, chosen, wordpieces, featurizer) == [
        SalientSpan(0, 2, "PER"),
        SalientSpan(3, 8, "LOC"),
        SalientSpan(12, 14, "LOC"),
    ]


def test_f1_by_hand():
    gold = [
        EntitySentence("", ZOE, (SalientSpan(22, 26, "TIME"),)),
        EntitySentence("", (SalientSpan(0, 1, "ORG"),)),
    ]
    found = [
        # One right, one of the wrong type, one on a date.
        [
            SalientSpan(0, 4, "PER"),
            SalientSpan(10, 18, "ORG"),
            SalientSpan(20, 26, "MISC"),
        ],
        [],
    ]
    # 1 of 2 found, 1 of 3 gold: F1 = 2 * 1 / 5.
    assert entity_f1(gold, found) == {
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
        "f1": 0.4,
        "num_entities": 3.0,
    }
    assert entity_f1([], [])["f1"] == 0.0
