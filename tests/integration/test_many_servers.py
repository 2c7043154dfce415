"""Several query services of one bundle: one writes, others follow."""

import concurrent.futures
import itertools

import pytest

from realm_tf.client.realm_client import RealmClient
from realm_tf.errors import NotWriterError

DOCUMENT = {"id": "new", "title": "New", "text": "People were in Sofia."}


@pytest.fixture
def reader(server, start_server):
    """A service that follows `server`."""
    return start_server(reader=True, token=None, url="http://reader:1")


@pytest.fixture
def server(start_server):
    server = start_server(url="http://writer:1")
    server.wait(lambda: role(server) == "writer")
    return server


def role(server):
    return server.get("/healthz").json["role"]


def add(server, **changes):
    documents = {"documents": [DOCUMENT | changes]}
    return server.post("/v1/documents", documents)


def found(server):
    """Ids of the documents that a search finds."""
    body = {"question": DOCUMENT["text"], "top_k": 100}
    (result,) = server.post("/v1/search", body).json["results"]
    return {block["document_id"] for block in result["blocks"]}


def place(server):
    health = server.get("/readyz").json
    return health["index_version"], health["num_updates"]


def test_single_documents_appear_on_a_reader(server, reader):
    assert (role(server), role(reader)) == ("writer", "reader")
    reply = add(server).json
    assert (reply["index_version"], reply["num_updates"]) == (1, 1)
    assert "new" in found(reader)  # the next search
    assert place(reader) == (1, 1)
    server.send("DELETE", "/v1/documents?id=new")
    assert "new" not in found(reader)
    assert place(reader) == (1, 2)


def test_reader_that_nobody_asks_follows_too(server, reader):
    add(server)
    reader.wait(lambda: place(reader) == (1, 1))
    lines = reader.get("/metrics").body.decode().splitlines()
    assert {"realm_index_updates 1.0", "realm_writer 0.0"} <= set(lines)
    assert "realm_writer 1.0" in server.get("/metrics").body.decode()


def test_reader_refuses_changes_and_names_the_writer(server, reader):
    for reply in (
        add(reader),
        reader.send("DELETE", "/v1/documents?id=new"),
        reader.post("/v1/index", {}),
        reader.post("/v1/index", {"roll_back_to": 1}),
        reader.post("/v1/index", {"compact": True}),
    ):
        assert reply.status == 409 and reply.json["writer"] == "http://writer:1"
        assert (
            "Send changes to the writer, http://writer:1."
            in (reply.json["error"])
        )
    with pytest.raises(NotWriterError) as caught:
        RealmClient(reader.url, token="any").add_documents([DOCUMENT])
    assert caught.value.writer == "http://writer:1"
    other = {"sec-fetch-site": "cross-site"}
    reply = reader.post("/v1/index", {}, headers=other)
    assert reply.status == 403
    assert reader.get("/v1/index").json["role"] == "reader"
    assert found(reader)


def test_second_service_waits_and_takes_over(server, start_server):
    second = start_server(url="http://second:1")
    assert role(second) == "waiting"
    for path, body in (
        ("/v1/documents", {"documents": [DOCUMENT]}),
        ("/v1/index", {"compact": True}),
        ("/v1/index", {"roll_back_to": 1}),
    ):
        reply = second.post(path, body)
        assert reply.status == 409 and reply.json["writer"] == "http://writer:1"
    assert second.post("/v1/index", {}).status == 200  # it only looks
    token = {"authorization": "x"}
    assert second.post("/v1/index", {}, headers=token).status == 401
    add(server)
    server.stop()
    second.wait(lambda: role(second) == "writer")
    assert "new" in found(second)
    assert add(second, id="newer").json["num_updates"] == 2
    assert {"new", "newer"} <= found(second)


def test_change_that_comes_first_takes_the_role_over(server, start_server):
    second = start_server(watch_interval=60.0)
    server.stop()
    assert role(second) == "waiting"
    assert add(second).status == 200
    assert role(second) == "writer"


def test_service_that_cannot_write_answers(start_server, monkeypatch):
    def fail(_):
        raise OSError("Read-only file system")

    monkeypatch.setattr(
        "realm_tf.serving.service.writer_role.WriterRole.take", fail
    )
    server = start_server()
    server.wait(lambda: "Read-only" in server.service.problem, 30)
    assert server.get("/readyz").status == 200 and found(server)
    assert add(server).status == 507


def test_reader_follows_versions_without_a_failed_request(server, reader):
    """A roll-back, a fold and documents, while questions are asked."""
    end = concurrent.futures.Future()

    def ask():
        for count in itertools.count():
            if end.done():
                return count
            reply = reader.post("/v1/ask", {"question": "Who was in Sofia?"})
            assert reply.status == 200, reply.body

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        asking = [executor.submit(ask) for _ in range(2)]
        try:
            add(server)
            server.post("/v1/index", {"compact": True})
            add(server, id="newer")
            reader.wait(lambda: place(reader) == (2, 1))
            assert {"new", "newer"} <= found(reader)
            status = reader.get("/v1/index").json
            assert status["corpus"] == "corpus-2"
            server.post("/v1/index", {"roll_back_to": 1})
            reader.wait(lambda: place(reader) == (3, 1))
            assert "newer" not in found(reader)
        finally:
            end.set_result(None)
        assert all(each.result() for each in asking)


def test_reader_goes_on_without_a_writer(server, reader):
    add(server)
    server.stop()
    assert "new" in found(reader) and reader.get("/readyz").status == 200
    reply = add(reader)
    assert reply.status == 409 and reply.json["writer"] is None
