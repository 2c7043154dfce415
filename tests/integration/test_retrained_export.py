"""A retrained model is exported while the old one answers questions."""

import collections
import contextlib
import dataclasses
import math
import threading
import time

import numpy as np
import pytest
from local_backend import LocalBackend

from realm_tf import RealmClient
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.serving.backends.grpc_backend import GrpcBackend
from realm_tf.serving.backends.in_process_backend import InProcessBackend
from realm_tf.serving.backends.rest_backend import RestBackend
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QUERY_EMBEDDER,
    READER,
    read_bundle,
    write_bundle,
)
from realm_tf.serving.export import bundle_parts

QUESTIONS = ["When was the school of Rome founded?", "Where is Österreich?"]
DOCUMENT = {"id": "new", "title": "New", "text": "People were in Sofia."}
NUM_CLIENTS = 4


@pytest.fixture(scope="module")
def retrained_qa(make_qa, city_corpus, tmp_path_factory):
    qa = make_qa(seed=7)
    qa.num_read = 3
    qa.build_index(city_corpus, tmp_path_factory.mktemp("retrained") / "index")
    return qa


@pytest.fixture
def retrained(retrained_qa):
    """The second version of each model."""
    backend = LocalBackend(retrained_qa, versions=(2, 2, 2))
    backend.reader_name = b"reader2"
    return backend


@pytest.fixture(params=["grpc", "http"])
def open_backend(request):
    def backend_of(model_server):
        if request.param == "grpc":
            target = f"127.0.0.1:{model_server.grpc_port}"
            return lambda: GrpcBackend(target, timeout=300)
        url = f"http://127.0.0.1:{model_server.rest_port}"
        return lambda: RestBackend(url, timeout=300)

    return backend_of


def export(bundle, model_server, backend, seconds):
    """What an export does to the disk, and then to the model server."""
    embed = backend.qa.block_embedding.blocks
    bundle_parts.copy_index(bundle, backend.qa.index, embed)
    for model, after in seconds.items():
        model_server.arrive(backend, model, after)
    write_bundle(
        dataclasses.replace(
            read_bundle(bundle),
            models=dict.fromkeys(seconds, 2),
            embedder_fingerprint=backend.qa.embedder_fingerprint,
            reader_fingerprint="reader2",
        )
    )


@contextlib.contextmanager
def clients(server, pause=0.0):
    """Asks all the while; what was seen is counted."""
    seen, stop = collections.Counter(), threading.Event()

    def ask():
        while not stop.is_set():
            for question in QUESTIONS:
                reply = server.post("/v1/ask", {"question": question})
                if reply.status != 200:
                    seen[reply.status, reply.json["error"]] += 1
                    continue
                (answer,) = reply.json["answers"]
                versions = (*answer["models"].values(), answer["index_version"])
                seen[versions, question, answer["answer"]] += 1
            time.sleep(pause)

    threads = [threading.Thread(target=ask) for _ in range(NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def expected(version, qa):
    """What `clients` sees of one version."""
    answers = qa.predict(QUESTIONS)
    return {
        ((version,) * 3, question, answer.text)
        for question, answer in zip(QUESTIONS, answers, strict=True)
    }


def test_service_turns_to_an_export_without_a_failed_or_mixed_reply(
    start_server,
    start_model_server,
    open_backend,
    bundle,
    served_qa,
    retrained,
):
    model_server = start_model_server()
    server = start_server(open_backend=open_backend(model_server))
    seconds = {QUERY_EMBEDDER: 0.5, BLOCK_EMBEDDER: 1.0, READER: 3.0}
    old, new = expected(1, served_qa), expected(2, retrained.qa)
    with clients(server) as seen:
        server.wait(lambda: seen.keys() == old)
        export(bundle, model_server, retrained, seconds)
        # Into which index, nobody could say yet.
        reply = server.post("/v1/documents", {"documents": [DOCUMENT]})
        assert reply.status == 503 and "new export" in reply.json["error"]
        server.wait(lambda: new <= seen.keys())
        after = sum(seen.values())
        server.wait(lambda: sum(seen.values()) > after + 50)
    assert seen.keys() == old | new
    reply = server.post("/v1/documents", {"documents": [DOCUMENT]})
    assert reply.status == 200 and reply.json["index_version"] == 2


def test_service_stays_with_the_old_export_if_the_new_one_never_loads(
    start_server,
    start_model_server,
    open_backend,
    bundle,
    served_qa,
    retrained,
):
    model_server = start_model_server()
    server = start_server(open_backend=open_backend(model_server))
    seconds = {QUERY_EMBEDDER: 0.0, BLOCK_EMBEDDER: 0.0, READER: math.inf}
    with clients(server) as seen:
        export(bundle, model_server, retrained, seconds)
        server.wait(lambda: "realm_reader" in server.service.problem)
        time.sleep(2.0)  # several looks
    assert seen.keys() == expected(1, served_qa)
    assert "stays with the last export" in server.service.problem
    assert server.get("/readyz").status == 200


def test_server_that_keeps_one_version_fails_until_both_have_loaded(
    start_server,
    start_model_server,
    open_backend,
    bundle,
    served_qa,
    retrained,
):
    model_server = start_model_server(num_versions=1)
    server = start_server(open_backend=open_backend(model_server))
    seconds = {QUERY_EMBEDDER: 0.5, BLOCK_EMBEDDER: 0.5, READER: 2.0}
    old, new = expected(1, served_qa), expected(2, retrained.qa)
    with clients(server) as seen:
        export(bundle, model_server, retrained, seconds)
        server.wait(lambda: new <= seen.keys())
    failed = {key[0] for key in seen.keys() - old - new}
    assert failed == {503}


@contextlib.contextmanager
def writer(server):
    """Adds documents all the while; those that were acknowledged."""
    client = RealmClient(server.url, token="secret", num_retries=20)
    added, stop = [], threading.Event()

    def add():
        while not stop.is_set():
            name = f"live-{len(added)}"
            client.add_documents([{"id": name, "text": f"{name} is old."}])
            added.append(name)
            time.sleep(0.2)

    thread = threading.Thread(target=add)
    thread.start()
    try:
        yield added
    finally:
        stop.set()
        thread.join(120)


def test_retrained_model_replaces_a_live_one_with_all_its_documents(
    start_server, served_qa, make_qa, cities, tmp_path
):
    """The commands of export/README.md, with models in this process."""
    bundle = tmp_path / "bundle"
    served_qa.export(bundle)
    server = start_server(
        folder=bundle, open_backend=lambda: InProcessBackend(bundle)
    )
    client = RealmClient(server.url, token="secret", timeout=300)
    with clients(server, pause=0.1) as seen, writer(server) as added:
        client.delete_documents([cities[0].document_id])
        server.wait(lambda: len(added) > 2)
        status = client.compact_index()
        assert status["corpus"] == "corpus-2"
        retrained = make_qa(seed=7)
        retrained.num_read = 3
        corpus = Corpus.open(bundle / status["corpus"])
        retrained.build_index(corpus, tmp_path / "index")
        client.delete_documents(["live-0", cities[1].document_id])
        server.wait(lambda: len(added) > 10)
        retrained.export(bundle)
        server.wait(lambda: any(key[0][:2] == (2, 2) for key in seen))
        acknowledged = len(added)
        server.wait(lambda: len(added) > acknowledged)
    assert {key[0] for key in seen} <= {(1, 1, 1), (1, 1, 2), (2, 2, 3)}
    index = server.service.index.in_use
    assert (index.version, index.corpus.path.name) == (3, "corpus-2")
    blocks = index.blocks(index.live_block_ids())
    kept = [city.document_id for city in cities[2:]] + added[1:]
    assert {block.document_id for block in blocks} == set(kept)
    np.testing.assert_allclose(
        index.embeddings(index.live_block_ids()),
        retrained.block_embedding.blocks(blocks),
        atol=1e-5,
    )
