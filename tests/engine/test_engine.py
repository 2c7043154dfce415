import numpy as np

from realm_tf.data.corpus.answer import Evidence
from realm_tf.data.corpus.blocks import Block
from realm_tf.engine.engine import (
    MISSING_SCORE,
    Engine,
    Readings,
    ReadSpan,
    encoded,
)


class Recorder(Engine):
    """Answers with the first bytes of the last block that is there."""

    def embed_questions(self, questions):
        raise AssertionError

    def embed_blocks(self, titles, texts, *, before_part=lambda: None):
        raise AssertionError

    def read(self, questions, titles, texts, scores, num_answers):
        self.seen = (questions, titles, texts, scores.tolist(), num_answers)
        last = (scores > -1e30).sum(axis=1) - 1
        return Readings(
            tuple(
                (ReadSpan(row[z][:4], int(z), 0, 4, 0.5, 0.25),)
                if z >= 0
                else ()
                for row, z in zip(texts, last, strict=True)
            ),
            "abc",
            7,
        )


def make_evidence(num_blocks):
    blocks = tuple(Block(f"text {i}", title=f"t{i}") for i in range(num_blocks))
    logits = np.arange(num_blocks, 0, -1, dtype=np.float32)
    return Evidence(f"question {num_blocks}", blocks, logits, False)


def test_evidence_is_padded_to_one_width_and_cut():
    engine = Recorder()
    evidence = [make_evidence(n) for n in (3, 1, 0)]
    spans, readings = engine.read_evidence(evidence, 2, 5)
    questions, titles, texts, scores, num_answers = engine.seen
    assert questions == ["question 3", "question 1", "question 0"]
    assert titles == [["t0", "t1"], ["t0", ""], ["", ""]]
    assert texts == [["text 0", "text 1"], ["text 0", ""], ["", ""]]
    missing = float(np.float32(MISSING_SCORE))
    assert scores == [[3.0, 2.0], [1.0, missing], [missing, missing]]
    assert num_answers == 5
    assert (readings.fingerprint, readings.version) == ("abc", 7)
    assert [[span.block.text for span in own] for own in spans] == [
        ["text 1"],
        ["text 0"],
        [],
    ]
    ((span,), *_) = spans
    assert (span.text, span.start, span.end) == ("text", 0, 4)
    # Of three that were retrieved: exp(2) / (exp(3) + exp(2) + exp(1)).
    np.testing.assert_allclose(span.retrieval_probability, 0.244728, 1e-5)
    assert (span.reading_probability, span.probability) == (0.5, 0.25)


def test_text_without_utf8_is_encoded_with_question_marks():
    assert encoded(["a\ud800b", "é"]) == [b"a?b", "é".encode()]
