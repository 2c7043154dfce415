"""The exports in a real server, where there is one.

Named by TENSORFLOW_MODEL_SERVER, or `tensorflow_model_server` on the PATH.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from answers_alike import assert_outputs_alike

from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QA,
    QUERY_EMBEDDER,
    READER,
)

SERVER = os.environ.get("TENSORFLOW_MODEL_SERVER") or shutil.which(
    "tensorflow_model_server"
)
pytestmark = pytest.mark.skipif(
    not SERVER, reason="there is no tensorflow_model_server"
)
QUESTIONS = ["Where is Rome?", "When was the school of Oslo founded?", "Who?"]
_SECONDS = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, folder, *flags):
        self.grpc, self.rest = free_port(), free_port()
        self._log = open(folder / "server.log", "ab")
        self._process = subprocess.Popen(
            [
                SERVER,
                f"--port={self.grpc}",
                f"--rest_api_port={self.rest}",
                f"--model_config_file={folder / 'models.config'}",
                f"--monitoring_config_file={folder / 'monitoring.config'}",
                "--file_system_poll_wait_seconds=1",
                *flags,
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def predict(self, model, inputs, signature="serving_default", version=None):
        which = f"/versions/{version}" if version else ""
        body = {"signature_name": signature, "inputs": inputs}
        return self._post(f"/v1/models/{model}{which}:predict", body)

    def _post(self, path, body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)["outputs"]
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait(self, model, inputs, version=None):
        """Readiness is a real request that is answered."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, "the server ended"
            with contextlib.suppress(OSError):
                if self.predict(model, inputs, version=version)[0] == 200:
                    return
            time.sleep(0.2)
        raise TimeoutError(model)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


@pytest.fixture(scope="module")
def bundle(qa, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "bundle"
    models = (QUERY_EMBEDDER, BLOCK_EMBEDDER, READER, QA)
    return qa.export(folder, models=models)


@pytest.fixture(scope="module", params=["plain", "batching"])
def server(bundle, request):
    flags = []
    if request.param == "batching":
        config = bundle.path / "batching.config"
        flags = ["--enable_batching", f"--batching_parameters_file={config}"]
    running = Server(bundle.path, *flags)
    try:
        running.wait(QA, QUESTIONS)
        running.wait(QUERY_EMBEDDER, QUESTIONS)
        yield running
    finally:
        running.stop()


def reader_inputs(qa):
    answers = qa.predict(QUESTIONS)
    return {
        "question": QUESTIONS,
        "block_titles": [[b.title for b in a.blocks] for a in answers],
        "block_texts": [[b.text for b in a.blocks] for a in answers],
        "retrieval_scores": qa.search(QUESTIONS, 5).scores.tolist(),
    }


def test_server_answers_as_the_model_does(qa, server):
    answers = qa.predict(QUESTIONS)
    for model, inputs in ((QA, QUESTIONS), (READER, reader_inputs(qa))):
        status, outputs = server.predict(model, inputs)
        assert status == 200
        for i, answer in enumerate(answers):
            spans = [answer, *answer.alternatives]
            assert outputs["text"][i][: len(spans)] == [s.text for s in spans]
            for name in ("probability", "reading_probability"):
                np.testing.assert_allclose(
                    outputs[name][i][: len(spans)],
                    [getattr(span, name) for span in spans],
                    atol=1e-5,
                )
    status, outputs = server.predict(QUERY_EMBEDDER, QUESTIONS, "embed")
    want = qa.question_embedding.questions(QUESTIONS)
    np.testing.assert_allclose(outputs["embedding"], want, atol=1e-5)
    assert outputs["fingerprint"] == [qa.embedder_fingerprint] * 3


def test_wrong_shapes_are_refused_and_the_server_lives(qa, server):
    for model, inputs in (
        (QUERY_EMBEDDER, "who?"),
        (QUERY_EMBEDDER, [["a", "b"]]),
        (QA, "who?"),
        (BLOCK_EMBEDDER, {"title": "a", "text": "b"}),
        (READER, reader_inputs(qa) | {"question": "who?"}),
    ):
        assert server.predict(model, inputs)[0] == 400
    assert server.predict(QA, QUESTIONS)[0] == 200


def test_answers_do_not_depend_on_the_batch(server):
    _, together = server.predict(QA, QUESTIONS)
    for i, question in enumerate(QUESTIONS):
        _, alone = server.predict(QA, [question])
        row = {name: values[i : i + 1] for name, values in together.items()}
        assert_outputs_alike(alone, row)


def test_grpc_answers_too(bundle, server):
    grpc = pytest.importorskip("grpc")
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    from tensorflow_serving.apis import prediction_service_pb2_grpc as services

    tf = pytest.importorskip("tensorflow")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = QUERY_EMBEDDER
    request.model_spec.signature_name = "embed"
    request.inputs["question"].CopyFrom(tf.make_tensor_proto(QUESTIONS))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = services.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=60).outputs
    assert tf.make_ndarray(outputs["embedding"]).shape == (3, 4)
    fingerprint = tf.make_ndarray(outputs["fingerprint"])[0].decode()
    assert fingerprint == bundle.embedder_fingerprint


def test_next_version_goes_live_beside_the_last(qa, server, bundle):
    after = qa.export(bundle.path, models=(QUERY_EMBEDDER,))
    version = after.models[QUERY_EMBEDDER]
    server.wait(QUERY_EMBEDDER, QUESTIONS, version)
    _, old = server.predict(QUERY_EMBEDDER, QUESTIONS, version=version - 1)
    _, new = server.predict(QUERY_EMBEDDER, QUESTIONS, version=version)
    np.testing.assert_allclose(old, new, atol=1e-6)
