from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_span import SalientSpan, from_characters


def found(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    return [(raw[s.start : s.end].decode(), s.label) for s in spans]


def test_characters_become_bytes():
    assert from_characters("aéb", [(1, 2, "X"), (0, 3, "Y")]) == [
        SalientSpan(1, 3, "X"),
        SalientSpan(0, 4, "Y"),
    ]
