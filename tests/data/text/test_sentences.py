import json
import pathlib
import time

import hypothesis
import pytest
from hypothesis import strategies

from realm_tf.data.text import sentences
from realm_tf.data.text.sentences import byte_offsets, split_sentences

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"


def split(text):
    return [text[start:end] for start, end in split_sentences(text)]


def test_split_agrees_with_punkt_on_wikipedia():
    found = expected = both = 0
    for article in json.loads((FIXTURES / "wiki_blocks.json").read_text()):
        text = article["unescaped_text"]
        ends = {end for _, end in split_sentences(text)}
        place, punkt = 0, set()
        for sentence in article["sentences"]:
            place = text.index(sentence, place) + len(sentence)
            punkt.add(place)
        found += len(ends)
        expected += len(punkt)
        both += len(ends & punkt)
    # Those missed end in "C.B.E.", "i.e.", "pp." and "e.g.", wrongly; one of
    # them before a word in lower case. Those added are Japanese, and pieces of
    # a list of 500 wordpieces without a full stop.
    assert (both, expected, found) == (54, 59, 58)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("No full stop", ["No full stop"]),
        ("One.  Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "I go." She went.', ['He said "I go."', "She went."]),
        ("Dr. Bob met Mr. J. R. Smith.", ["Dr. Bob met Mr. J. R. Smith."]),
        ("Title\n\nIt begins. It ends.", ["Title\n\nIt begins.", "It ends."]),
        ("One.\r\n\r\nTwo.", ["One.", "Two."]),
        ("A: one\n- two\n- three.", ["A: one\n- two\n- three."]),
        ("Été à Paris. Où?", ["Été à Paris.", "Où?"]),
        ("A \x00 sign. \u200fRight.", ["A \x00 sign.", "\u200fRight."]),
    ],
)
def test_split_finds_sentences(text, expected):
    assert split(text) == expected


def test_split_cuts_what_never_ends():
    words = "word " * 1_000
    pieces = split(words)
    limit = sentences.MAX_SENTENCE_CHARACTERS
    assert len(pieces) == 6
    assert max(map(len, pieces)) <= limit
    assert " ".join(pieces) == words.strip()
    assert split("a" * 2_500) == ["a" * limit, "a" * limit, "a" * 500]


def test_split_cuts_between_paragraphs_first():
    paragraphs = ["one " * 150, "two " * 150, "three."]
    assert split("\n\n".join(paragraphs)) == [
        paragraphs[0].strip(),
        paragraphs[1] + "\n\nthree.",
    ]


def test_split_of_long_text_does_not_depend_on_windows(monkeypatch):
    text = " ".join(f"Sentence {i} is here, at last." for i in range(1_000))
    whole = split(text)
    assert len(whole) == 1_000
    monkeypatch.setattr(sentences, "_WINDOW_CHARACTERS", 100)
    assert split(text) == whole


@pytest.mark.parametrize(
    "unit",
    ["\n", "\r\n", "a\n\n", ".\n", " ", "'", "「", "1. ", ")", ".)", "a"],
)
def test_split_takes_time_in_proportion(unit):
    start = time.thread_time()
    split_sentences("x. " + unit * (1_000_000 // len(unit)))
    # 1 s at most here; what is not linear needs minutes.
    assert time.thread_time() - start < 20


def test_split_can_be_ended_between_windows():
    windows = iter(range(3))
    with pytest.raises(StopIteration):
        split_sentences("\n" * 100_000, lambda: next(windows))


@hypothesis.given(strategies.text(alphabet="aB1.?!\n\r \t\"'é高。😀\x00-"))
def test_split_loses_white_space_only(text):
    spans = split_sentences(text)
    places = [place for span in spans for place in span]
    assert places == sorted(places)
    kept = "".join(text[start:end] for start, end in spans)
    assert "".join(kept.split()) == "".join(text.split())
    assert all(text[start:end].strip() for start, end in spans)


@hypothesis.given(strategies.text())
def test_byte_offsets_are_lengths_of_prefixes(text):
    hypothesis.assume(text.encode("utf-8", "replace").decode() == text)
    places = list(range(len(text) + 1))
    expected = [len(text[:place].encode()) for place in places]
    assert byte_offsets(text, places) == expected
