import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.data.spans.date_number_tagger import DateNumberTagger


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
