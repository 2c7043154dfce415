import dataclasses

import numpy as np
import pytest

from realm_tf.errors import BackendError
from realm_tf.serving.backends.model_server_client import ModelServerClient
from realm_tf.serving.bundle import QA

QUESTIONS = ["When was the school of Rome founded?", "who?"]


@pytest.fixture(params=["grpc", "http"])
def client(request, model_server, backend, served_qa):
    """A client of a server whose `realm_qa` is the model itself."""
    backend.versions[QA] = 4
    backend.predict = lambda model, signature, inputs: (
        qa_outputs(served_qa, inputs["question"]),
        4,
    )
    if request.param == "grpc":
        port = model_server.grpc_port
    else:
        port = model_server.rest_port
    client = ModelServerClient(f"{request.param}://127.0.0.1:{port}")
    yield client
    client.close()


def qa_outputs(qa, questions):
    rows = []
    for answer in qa.predict([bytes(q).decode() for q in questions]):
        spans = [answer, *answer.alternatives]
        rows.append(
            [
                {
                    **dataclasses.asdict(span),
                    "text": span.text.encode(),
                    "block_id": span.block.block_id,
                    "block_title": span.block.title.encode(),
                    "block_text": span.block.text.encode(),
                }
                for span in spans
            ]
        )
        padding = {"text": b"", "block_title": b"", "block_text": b""}
        rows[-1] += [padding] * (6 - len(spans))
    return {
        name: np.array([[s.get(name, 0) for s in row] for row in rows], kind)
        for name, kind in (
            ("text", object),
            ("block_title", object),
            ("block_text", object),
            ("block_id", np.int64),
            ("byte_start", np.int32),
            ("byte_end", np.int32),
            ("retrieval_probability", np.float32),
            ("reading_probability", np.float32),
            ("probability", np.float32),
        )
    }


def test_answers_are_those_of_the_model(client, served_qa):
    answers = client.predict(QUESTIONS, num_alternatives=2, threshold=0.5)
    expected = served_qa.predict(QUESTIONS)
    for there, here in zip(answers, expected, strict=True):
        assert there.text == here.text
        assert (there.start, there.end) == (here.start, here.end)
        assert there.block.text == here.block.text
        assert there.probability == pytest.approx(here.probability)
        assert [a.text for a in there.alternatives] == [
            a.text for a in here.alternatives[:2]
        ]
        assert there.threshold == 0.5 and there.block in there.blocks
    assert client.ask("who?").text == expected[1].text
    assert client.predict([]) == []


def test_threshold_is_that_of_the_export(client, backend, served_qa):
    def calibrated(model, signature, inputs):
        outputs = qa_outputs(served_qa, inputs["question"])
        size = len(inputs["question"])
        return outputs | {"threshold": np.full(size, 0.75, np.float32)}, 4

    backend.predict = calibrated
    assert client.ask("who?").threshold == 0.75
    assert client.ask("who?", threshold=0.0).threshold == 0.0


def test_server_without_the_model_is_an_error(client, backend):
    del backend.versions[QA]
    with pytest.raises(BackendError, match="realm_qa"):
        client.ask("who?")


@pytest.mark.parametrize("url", ["127.0.0.1:8500", "grpc://", "tcp://a:1"])
def test_url_must_be_that_of_a_model_server(url):
    with pytest.raises(ValueError, match="of a model server"):
        ModelServerClient(url)


def test_nonsense_is_an_error(client, backend, served_qa):
    def shift(model, signature, inputs):
        outputs = qa_outputs(served_qa, inputs["question"])
        return outputs | {"byte_start": outputs["byte_start"] + 1}, 4

    backend.predict = shift
    with pytest.raises(BackendError, match="as its export describes it"):
        client.ask("When was the school of Rome founded?")


def test_failures_are_tried_again(client, backend, served_qa):
    calls = []

    def fail_once(model, signature, inputs):
        calls.append(model)
        if len(calls) == 1:
            raise KeyError(model)
        return qa_outputs(served_qa, inputs["question"]), 4

    backend.predict = fail_once
    assert client.ask("who?").text == served_qa.ask("who?").text
    assert calls == [QA, QA]
