import numpy as np
import pytest

from realm_tf.data.corpus.answer import Answer, Evidence
from realm_tf.engine.question_answerer import MAX_READ, QuestionAnswerer


@pytest.fixture(scope="module")
def answerer(qa):
    return QuestionAnswerer(qa.question_embedding, qa.reader)


def answer(answerer, index, **options):
    options = {
        "num_read": 3,
        "num_retrieved": None,
        "num_alternatives": 1,
        "threshold": 0.0,
        **options,
    }
    return answerer.answer(["who?", "when?"], index, **options)


def test_answers_are_those_of_the_model(qa, answerer):
    expected = qa.predict(["who?", "when?"], num_read=3, num_alternatives=1)
    assert answer(answerer, qa.index) == expected


def test_evidence_can_be_read_without_a_search(qa, answerer):
    found = qa.ask("who?", num_read=3)
    evidence = Evidence(
        question="who?",
        blocks=found.blocks,
        retrieval_logits=qa.search(["who?"], 3).scores[0],
        truncated=False,
    )
    assert answerer.read(evidence, 3, 4, 0.0) == found
    only = answerer.read(evidence, 1, 4, 0.0)
    assert only.block == found.blocks[0]
    assert only.blocks == found.blocks


def test_nothing_to_read_gives_no_answer(answerer):
    nothing = Evidence("who?", (), np.zeros(0, np.float32), True)
    assert answerer.read(nothing, 3, 4, 0.5) == Answer.none(nothing, 0.5)


def test_at_most_so_many_blocks_are_read(qa, answerer):
    with pytest.raises(ValueError, match=f"from 1 to {MAX_READ}"):
        answer(answerer, qa.index, num_read=MAX_READ + 1)


def test_answers_name_the_version_of_the_index(qa, answerer):
    (first, _) = answer(answerer, qa.index)
    assert first.index_version == qa.index.version == 1
