from realm_tf.data.spans.combined_tagger import CombinedTagger
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.span_tagger import SpanTagger


def found(sentence):
    [spans] = DateNumberTagger().tag([sentence])
    raw = sentence.encode()
    return [(raw[s.start : s.end].decode(), s.label) for s in spans]


class Fixed(SpanTagger):
    def __init__(self, *spans):
        self.spans = list(spans)

    def tag(self, sentences):
        return [list(self.spans) for _ in sentences]


def test_of_overlapping_spans_the_longest_counts():
    first = Fixed(SalientSpan(0, 4, "A"), SalientSpan(10, 12, "A"))
    second = Fixed(
        SalientSpan(2, 8, "B"),
        SalientSpan(10, 12, "B"),
        SalientSpan(20, 21, "B"),
    )
    assert CombinedTagger([first, second]).tag(["x"]) == [
        [
            SalientSpan(2, 8, "B"),
            SalientSpan(10, 12, "A"),
            SalientSpan(20, 21, "B"),
        ]
    ]
