import json

import numpy as np
import pytest

from realm_tf.client.answer_json import answer_from_json, answer_json
from realm_tf.data.corpus.answer import Answer, Evidence, Span
from realm_tf.data.corpus.blocks import Block

TEXT = "Zoë said that Emma is by Jane Austen."
BLOCKS = (
    Block(TEXT, title="Emma", document_id="doc-1", block_id=3),
    Block("Bath is a town.", document_id="doc-2", block_id=8),
)


def make_span(text, probability):
    start = TEXT.index(text)
    byte_start = len(TEXT[:start].encode())
    return Span(
        text=text,
        block=BLOCKS[0],
        start=start,
        end=start + len(text),
        byte_start=byte_start,
        byte_end=byte_start + len(text.encode()),
        retrieval_probability=0.9,
        reading_probability=0.8,
        probability=probability,
    )


@pytest.fixture
def answer():
    evidence = Evidence(
        "Who wrote Emma?",
        BLOCKS,
        np.log([0.9, 0.1]),
        truncated=False,
        index_version=7,
    )
    spans = [make_span("Jane Austen", 0.75), make_span("Austen", 0.05)]
    return Answer.of(evidence, spans, threshold=0.0)


def test_json_holds_everything_that_is_known(answer):
    content = json.loads(json.dumps(answer_json(answer)))
    assert content["question"] == "Who wrote Emma?"
    assert content["answer"] == "Jane Austen"
    assert content["found"] is True and content["truncated"] is False
    text = content["block"]["text"]
    assert text[content["start"] : content["end"]] == "Jane Austen"
    raw = text.encode()[content["byte_start"] : content["byte_end"]]
    assert raw == b"Jane Austen"
    assert content["probability"] == 0.75
    assert content["retrieval_probability"] == 0.9
    assert content["reading_probability"] == 0.8
    assert [a["answer"] for a in content["alternatives"]] == ["Austen"]
    assert [b["block_id"] for b in content["blocks"]] == [3, 8]
    assert [b["document_id"] for b in content["blocks"]] == ["doc-1", "doc-2"]
    assert content["blocks"][0]["probability"] == pytest.approx(0.9)


def test_json_gives_the_same_answer_back(answer):
    wire = json.dumps(answer_json(answer))
    back = answer_from_json(json.loads(wire))
    assert back == answer
    assert back.index_version == 7


def test_json_of_no_answer_gives_no_answer_back():
    nothing = Evidence("who?", (), np.zeros(0, np.float32), True)
    answer = Answer.none(nothing, 0.5)
    back = answer_from_json(answer_json(answer))
    assert back == answer and not back.found


def test_json_without_a_field_is_refused(answer):
    fields = answer_json(answer)
    del fields["blocks"]
    with pytest.raises(KeyError, match="blocks"):
        answer_from_json(fields)
