import math

import numpy as np
import pytest
from local_backend import LocalBackend

from realm_tf.errors import BackendError
from realm_tf.serving.backends.rest_backend import RestBackend
from realm_tf.serving.bundle import QUERY_EMBEDDER, READER


@pytest.fixture
def remote(model_server):
    remote = RestBackend(f"http://127.0.0.1:{model_server.rest_port}/")
    yield remote
    remote.close()


def test_answers_are_those_of_the_models(remote, backend):
    questions = ["who?", "Zoë was in Rome?"]
    there, here = (b.embed_questions(questions) for b in (remote, backend))
    np.testing.assert_array_equal(there.embeddings, here.embeddings)
    assert there.fingerprint == here.fingerprint
    titles, texts = ["Rome", ""], ["Rome is old.", "Oslo."]
    there, here = (b.embed_blocks(titles, texts) for b in (remote, backend))
    np.testing.assert_array_equal(there.embeddings, here.embeddings)
    scores = np.zeros((2, 2), np.float32)
    read = (questions, [titles] * 2, [texts] * 2, scores, 5)
    assert remote.read(*read) == backend.read(*read)


def test_newest_available_version_is_asked(remote, backend, model_server):
    newer = LocalBackend(backend.qa, versions=(4, 4, 4))
    model_server.arrive(newer, QUERY_EMBEDDER, math.inf)
    backend.versions[QUERY_EMBEDDER] = 3
    assert remote.embed_questions(["who?"]).version == 3


def test_version_that_is_taken_away_is_replaced(remote, backend):
    assert remote.embed_questions(["who?"]).version == 1
    backend.versions[QUERY_EMBEDDER] = 2
    assert remote.embed_questions(["who?"]).version == 2


def test_model_that_is_not_served_is_an_error(remote, backend):
    del backend.versions[READER]
    with pytest.raises(BackendError, match="version of `realm_reader`.*404"):
        remote.read(["a"], [[""]], [["b"]], np.zeros((1, 1)), 5)


@pytest.mark.parametrize(
    ("garbage", "match"),
    [
        (b"<html>", "with JSON: 200: b'<html>'"),
        (b"[1]", "JSON object. Received: list"),
        (b"[" * 100_000, "with JSON"),
        (b'{"error": "no"}', "for `realm_query_embedder`: 200: no"),
        (b'{"outputs": {"embedding": [[1.0], []]}}', "`embedding` must be an"),
        (b'{"outputs": {}}', "must answer with `embedding`"),
    ],
)
def test_garbage_is_an_error(remote, model_server, garbage, match):
    remote.embed_questions(["who?"])
    model_server.garbage = garbage
    with pytest.raises(BackendError, match=match):
        remote.embed_questions(["who?"])


def test_slow_server_is_an_error(model_server):
    url = f"http://127.0.0.1:{model_server.rest_port}"
    remote = RestBackend(url, timeout=0.2)
    model_server.delay = 1.0
    with pytest.raises(BackendError, match="did not answer.*timed out"):
        remote.embed_questions(["who?"])
    remote.close()


def test_server_that_is_not_there_is_an_error():
    remote = RestBackend("http://127.0.0.1:1")
    with pytest.raises(BackendError, match="127.0.0.1:1 did not answer"):
        remote.embed_questions(["who?"])
