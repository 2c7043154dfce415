from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.spacy_tagger import SpacyTagger


def found(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    return [(raw[s.start : s.end].decode(), s.label) for s in spans]


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
    expected = [SalientSpan(0, 4, "PERSON"), SalientSpan(12, 18, "GPE")]
    assert SpacyTagger(Pipeline()).tag(sentences) == [expected, []]
    places = SpacyTagger(Pipeline(), {"GPE"}).tag(sentences)
    assert places == [expected[1:], []]
