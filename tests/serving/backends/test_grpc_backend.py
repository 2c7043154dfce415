import concurrent.futures
import sys
import time

import numpy as np
import pytest
from local_backend import LocalBackend

from realm_tf.errors import BackendError, BackendFullError
from realm_tf.serving.backends.grpc_backend import GrpcBackend
from realm_tf.serving.bundle import READER


@pytest.fixture
def remote(model_server):
    remote = GrpcBackend(f"127.0.0.1:{model_server.grpc_port}", timeout=300)
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


def test_version_is_that_of_the_reply(remote, backend):
    backend.versions[READER] = 12
    assert (
        remote.read(["a"], [[""]], [["b"]], np.zeros((1, 1)), 5).version == 12
    )


def test_model_that_is_not_served_is_an_error(remote, backend):
    del backend.versions[READER]
    with pytest.raises(BackendError, match="NOT_FOUND.*realm_reader"):
        remote.read(["a"], [[""]], [["b"]], np.zeros((1, 1)), 5)


def test_slow_server_is_an_error(model_server):
    remote = GrpcBackend(f"127.0.0.1:{model_server.grpc_port}", timeout=0.1)
    model_server.delay = 1.0
    with pytest.raises(BackendError, match="DEADLINE_EXCEEDED"):
        remote.embed_questions(["who?"])
    remote.close()


def test_servers_of_a_pool_take_turns(backend):
    pytest.importorskip("tensorflow_serving")
    from model_server import ModelServer

    backends = [LocalBackend(backend.qa) for _ in range(2)]
    servers = [ModelServer(one) for one in backends]
    ports = ",".join(f"127.0.0.1:{server.grpc_port}" for server in servers)
    remote = GrpcBackend(f"ipv4:{ports}", timeout=300)
    try:
        deadline = time.monotonic() + 60  # until both are connected
        while not all(one.calls for one in backends):
            assert time.monotonic() < deadline
            remote.embed_questions(["who?"])
        before = [len(one.calls) for one in backends]
        for _ in range(10):
            remote.embed_questions(["who?"])
        after = [len(one.calls) for one in backends]
        assert [b - a for a, b in zip(before, after, strict=True)] == [5, 5]
        servers[0].stop()
        for _ in range(10):  # the other one answers all
            remote.embed_questions(["who?"])
    finally:
        remote.close()
        for server in servers:
            server.stop()


def test_full_server_answers_all_calls_in_the_end(backend, start_model_server):
    server = start_model_server(max_calls=2)
    server.delay = 0.01
    remote = GrpcBackend(f"127.0.0.1:{server.grpc_port}", timeout=300)
    with concurrent.futures.ThreadPoolExecutor(64) as threads:
        questions = [[f"who {i}?"] for i in range(128)]
        got = list(threads.map(remote.embed_questions, questions))
    want = backend.embed_questions([question for (question,) in questions])
    np.testing.assert_allclose(
        np.concatenate([one.embeddings for one in got]),
        want.embeddings,
        atol=1e-5,
    )
    assert 0 < server.num_refused < 128  # fewer calls at once soon
    remote.close()


def test_server_that_stays_full_is_told(start_model_server):
    server = start_model_server(max_calls=0)
    remote = GrpcBackend(f"127.0.0.1:{server.grpc_port}", timeout=0.3)
    with pytest.raises(BackendFullError, match="took no call for `realm_q"):
        remote.embed_questions(["who?"])
    remote.close()


def test_server_that_is_not_there_is_an_error():
    remote = GrpcBackend("127.0.0.1:1", timeout=5)
    with pytest.raises(BackendError, match="127.0.0.1:1 did not.*UNAVAIL"):
        remote.embed_questions(["who?"])
    remote.close()


def test_missing_api_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"pip install 'realm-tf\[serve\]'"):
        GrpcBackend("127.0.0.1:1")
