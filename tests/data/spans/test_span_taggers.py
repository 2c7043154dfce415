import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.data.spans.span_taggers import (
    CombinedTagger,
    DateNumberTagger,
    SpacyTagger,
    Span,
    SpanTagger,
    from_characters,
    tag_texts,
)


def found(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    return [(raw[s.start : s.end].decode(), s.label) for s in spans]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("On 3 May 1815 he left.", [("3 May 1815", "DATE")]),
        ("On December 16, 1775, he left.", [("December 16, 1775", "DATE")]),
        ("It was in July 1969.", [("July 1969", "DATE")]),
        ("He may march in May.", []),
        ("In August he left.", [("August", "DATE")]),
        ("The war of 1914–18 was long.", [("1914–18", "DATE")]),
        ("In 44 BC he died.", [("44 BC", "DATE")]),
        ("In the 1960s, on Monday.", [("1960s", "DATE"), ("Monday", "DATE")]),
        ("In the 19th century.", [("19th century", "DATE")]),
        ("About 1,200 people and 3.5 million more.",
         [("1,200", "NUMBER"), ("3.5 million", "NUMBER")]),
        ("It cost £12 or 5% more.", [("£12", "NUMBER"), ("5%", "NUMBER")]),
        ("He had three sons.", [("three", "NUMBER")]),
        ("The one and the B52 and x1.", []),
        ("Zoë was born in 1815 in Ōsaka.", [("1815", "DATE")]),
        ("", []),
    ],
)  # fmt: skip
def test_dates_and_numbers_are_found_by_rule(sentence, expected):
    assert found(sentence) == expected


@given(st.text(alphabet="é1 9,.May$%20sBCth-–", max_size=40))
def test_rules_give_slices_that_do_not_overlap(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(raw)
        assert raw[span.start : span.end].decode().strip()
        end = span.end


class Fixed(SpanTagger):
    def __init__(self, *spans):
        self.spans = list(spans)

    def tag(self, sentences):
        return [list(self.spans) for _ in sentences]


def test_of_overlapping_spans_the_longest_counts():
    first = Fixed(Span(0, 4, "A"), Span(10, 12, "A"))
    second = Fixed(Span(2, 8, "B"), Span(10, 12, "B"), Span(20, 21, "B"))
    assert CombinedTagger([first, second]).tag(["x"]) == [
        [Span(2, 8, "B"), Span(10, 12, "A"), Span(20, 21, "B")]
    ]


class Entity:
    def __init__(self, start_char, end_char, label_):
        self.start_char = start_char
        self.end_char = end_char
        self.label_ = label_


class Pipeline:
    """As spaCy's: finds capital words."""

    def pipe(self, texts):
        for text in texts:
            document = type("Doc", (), {})()
            words, place = [], 0
            for word in text.split(" "):
                if word[:1].isupper():
                    label = "GPE" if word == "Ōsaka" else "PERSON"
                    words.append(Entity(place, place + len(word), label))
                place += len(word) + 1
            document.ents = words
            yield document


def test_entities_of_spacy_are_spans_in_bytes():
    sentences = ["Zoë was in Ōsaka", "nobody"]
    expected = [Span(0, 4, "PERSON"), Span(12, 18, "GPE")]
    assert SpacyTagger(Pipeline()).tag(sentences) == [expected, []]
    places = SpacyTagger(Pipeline(), {"GPE"}).tag(sentences)
    assert places == [expected[1:], []]


def test_characters_become_bytes():
    assert from_characters("aéb", [(1, 2, "X"), (0, 3, "Y")]) == [
        Span(1, 3, "X"),
        Span(0, 4, "Y"),
    ]


def test_texts_are_tagged_by_sentence():
    text = "Ōsaka in 1815. On 3 May, 5 left."
    starts = (0, len("Ōsaka in 1815. ".encode()))
    [spans, none] = tag_texts(
        DateNumberTagger().tag, [(text, starts), ("Nothing.", (0,))]
    )
    raw = text.encode()
    assert [raw[s.start : s.end].decode() for s in spans] == [
        "1815",
        "3 May",
        "5",
    ]
    assert none == []
