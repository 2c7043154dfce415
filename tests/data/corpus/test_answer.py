import numpy as np
import pytest

from realm_tf.data.corpus.answer import Answer, Evidence, Span
from realm_tf.data.corpus.blocks import Block

LOG3 = np.log(3)


def evidence(texts, retrieval_logits, **options):
    return Evidence(
        question="which?",
        blocks=tuple(Block(text, block_id=i) for i, text in enumerate(texts)),
        retrieval_logits=np.array(retrieval_logits, np.float32),
        truncated=False,
        **options,
    )


@pytest.fixture
def spans():
    probabilities = {"retrieval_probability": 0.75, "reading_probability": 0.5}
    return [
        Span.cut(Block("red fox"), 4, 7, probability=0.625, **probabilities),
        Span.cut(Block("red fox"), 0, 3, probability=0.25, **probabilities),
    ]


def test_cut_counts_characters_and_bytes():
    block = Block("Größe: 3 m")
    span = Span.cut(
        block,
        len("Größe: ".encode()),
        len("Größe: 3 m".encode()),
        retrieval_probability=0.5,
        reading_probability=0.5,
        probability=0.5,
    )
    assert span.text == block.text[span.start : span.end] == "3 m"
    assert (span.start, span.end) == (7, 10)
    assert (span.byte_start, span.byte_end) == (9, 12)


def test_answer_holds_the_evidence(spans):
    known = evidence(["red fox", "Fox!"], [LOG3, 0], is_mismatched=True)
    answer = Answer.of(known, spans, 0.5)
    assert answer.text == "fox"
    assert answer.score == answer.probability == 0.625
    assert answer.alternatives == tuple(spans[1:])
    assert answer.blocks == known.blocks
    assert answer.question == "which?"
    assert answer.is_mismatched
    np.testing.assert_allclose(answer.block_probabilities, [3 / 4, 1 / 4])


@pytest.mark.parametrize(
    ("threshold", "found"), [(0.0, True), (0.625, True), (0.63, False)]
)
def test_answer_is_found_from_the_threshold_up(spans, threshold, found):
    answer = Answer.of(evidence(["red fox"], [0]), spans, threshold)
    assert answer.found is found


def test_no_answer_is_never_found_but_names_the_blocks():
    answer = Answer.none(evidence(["red fox", "Fox!"], [LOG3, 0]), 0.0)
    assert not answer.found
    assert (answer.text, answer.probability) == ("", 0.0)
    assert [block.text for block in answer.blocks] == ["red fox", "Fox!"]
    np.testing.assert_allclose(answer.block_probabilities, [3 / 4, 1 / 4])


def test_no_answer_of_no_block():
    answer = Answer.none(evidence([], []), 0.0)
    assert answer.blocks == answer.block_probabilities == ()
