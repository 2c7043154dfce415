from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.span_tagger import tag_texts


def found(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    return [(raw[s.start : s.end].decode(), s.label) for s in spans]


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
