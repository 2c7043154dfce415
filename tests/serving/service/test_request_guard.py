import asyncio
import concurrent.futures
import contextlib
import gzip
import json
import socket
import threading
import time
import tracemalloc

import pytest

from realm_tf.options import ServiceOptions
from realm_tf.serving.service.request_guard import RequestGuard, is_loopback
from realm_tf.serving.service.service_metrics import ServiceMetrics

JSON = {"content-type": "application/json"}
ASK = {"question": "who?"}


def head(path, length):
    """Of a request whose body may come slowly."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b'{"question": ', "valid JSON"),
        (b"", "valid JSON"),
        (b'{"question": "who?", "threshold": NaN}', "finite"),
        (b'{"question": "who?", "threshold": Infinity}', "finite"),
        (b'{"question": "who?", "question": "b"}', "repeat"),
        (b'{"question": "\xff"}', "UTF-8"),
        (b'{"question": "\\ud800"}', "surrogates"),
        (b"[" * 5_000, "nested so deeply"),
        (b'{"question": ' * 2_000, "nested so deeply"),
        (b'["who?"]', "JSON object"),
    ],
)
def test_body_must_be_strict_json(server, body, match):
    """H1, H2."""
    reply = server.send("POST", "/v1/ask", body, JSON)
    assert reply.status == 400 and match in reply.json["error"]


COSTLY = [
    ('{"questions": [', "1,"),
    ('{"questions": [', '"",'),
    ('{"questions": [', "null,"),
    ('{"question": {', '"a": 1,'),
    ('{"documents": [', "{},"),
    ('{"documents": [{', '"a":0,'),
    ('{"documents": ', "["),
    ('{"documents": ', '{"id":'),
    ("", "[1],"),
    ("", '"'),
    ("", '""'),
    ('{"a": "', "\\\\"),
    ('{"a": "', '\\"'),
    ('{"question": "', "\N{GRINNING FACE}"),
    ('{"top_k": ', "1"),
    ('{"threshold": 0.', "1"),
    ("", " "),
    ("", "{a"),
]


def test_refusing_a_body_costs_little(start_server):
    """At most 0.2 s and 50 MB for each MiB, while others are answered."""
    server = start_server(watch_interval=60)

    def refuse(opening, item):
        item = item.encode()
        body = opening.encode() + item * (4 * 2**20 // len(item))
        reply = server.send("POST", "/v1/ask", body, JSON)
        assert reply.status in (400, 413) and reply.json["error"]
        assert len(reply.body) < 1000

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        for case in COSTLY:
            tracemalloc.start()
            start = time.process_time()
            refused = executor.submit(refuse, *case)
            assert server.get("/healthz", timeout=10).status == 200
            refused.result()
            seconds = time.process_time() - start
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert seconds < 4 * 0.2 and peak < 4 * 50e6, case


def test_body_of_too_many_values_says_how_many_are_taken(server):
    reply = server.post("/v1/documents", {"documents": [[]] * 100_000})
    assert reply.status == 413
    assert "`questions` must hold at most 64, `doc" in reply.json["error"]


def test_text_with_many_signs_is_no_list_of_values(server):
    question = {"question": 'who, [{: "\\\\ ' * 500}
    assert server.post("/v1/ask", question).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        JSON | {"content-encoding": "gzip"},
    ],
)
def test_body_must_be_plain_json(server, headers):
    """H1, H3: a form of another site has no such type."""
    body = json.dumps(ASK).encode()
    if "content-encoding" in headers:
        body = gzip.compress(body)
    reply = server.send("POST", "/v1/ask", body, headers)
    assert reply.status == 400 and "must" in reply.json["error"]


def test_large_body_is_refused_before_it_is_read(start_server):
    """H3."""
    server = start_server(max_body_bytes=1000)
    headers = JSON | {"content-length": str(10**9)}
    reply = server.send("POST", "/v1/ask", b"{}", headers)
    assert reply.status == 413 and "1000 bytes" in reply.json["error"]
    with socket.create_connection(("127.0.0.1", server.port), 300) as client:
        client.sendall(
            b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_slow_body_is_given_up_while_others_are_served(start_server):
    """H3."""
    server = start_server(body_timeout=0.5)
    with socket.create_connection(("127.0.0.1", server.port), 30) as slow:
        slow.sendall(head("/v1/ask", 100) + b"{")
        assert server.post("/v1/ask", ASK).status == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_slow_bodies_are_not_in_flight(start_server):
    """H3: they would keep all others out."""
    server = start_server(max_requests=1)
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = socket.create_connection(address, 30)
            stack.enter_context(connection).sendall(head("/v1/ask", 100) + b"{")
        connections = server.server.server_state.connections
        server.wait(lambda: sum(c.cycle is not None for c in connections) == 3)
        assert server.post("/v1/ask", ASK).status == 200


def test_bodies_together_are_bounded(start_server):
    """H3."""
    server = start_server(max_buffered_bytes=300_000)
    address = ("127.0.0.1", server.port)
    body = json.dumps({"documents": [{"id": "1", "text": "Sofia."}]})
    body = body.encode() + b" " * 100_000
    with socket.create_connection(address, 30) as slow:
        slow.sendall(head("/v1/documents", 400_000) + b"x" * 250_000)
        guard = server.server.config.app.app
        server.wait(lambda: guard._buffered == 250_000)
        assert server.post("/v1/ask", ASK).status == 200  # small
        reply = server.send("POST", "/v1/documents", body, JSON)
        assert reply.status == 503 and "large bodies" in reply.json["error"]
        assert reply.headers["retry-after"] == "1"
    server.wait(lambda: guard._buffered == 0)
    assert server.send("POST", "/v1/documents", body, JSON).status == 200


def test_more_requests_than_are_taken_get_a_hint(start_server, backend):
    server = start_server(max_requests=1, watch_interval=60)
    go = threading.Event()
    backend.fault = lambda model: go.wait(30)
    first = threading.Thread(target=server.post, args=("/v1/ask", ASK))
    first.start()
    server.wait(lambda: b"in_flight 2.0" in server.get("/metrics").body)
    reply = server.post("/v1/ask", ASK)
    assert reply.status == 503 and reply.headers["retry-after"] == "1"
    assert server.get("/healthz").status == 200
    go.set()
    first.join()
    server.wait(lambda: b"in_flight 1.0" in server.get("/metrics").body)
    assert server.post("/v1/ask", ASK).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[", ""])
def test_other_sites_do_not_reach_a_local_service(server, host):
    reply = server.get("/v1/index", headers={"host": host})
    assert reply.status == 400 and "this machine" in reply.json["error"]


@pytest.mark.parametrize("host", ["localhost:80", "127.0.0.1", "[::1]:8600"])
def test_this_machine_reaches_a_local_service(server, host):
    assert server.get("/v1/index", headers={"host": host}).status == 200


def test_host_is_free_elsewhere(start_server):
    server = start_server(is_local=False)
    reply = server.get("/v1/index", headers={"host": "realm.example"})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/" + "a" * 17_000, {}), ("/", {"x-long": "a" * 17_000})],
)
def test_long_heads_are_refused(server, path, headers):
    """H4."""
    assert server.get(path, headers=headers).status == 400


def test_a_failure_of_the_service_shows_no_trace(server, monkeypatch, caplog):
    def fail():
        raise KeyError("inner")

    monkeypatch.setattr(server.service, "exposition", fail)
    reply = server.get("/metrics")
    assert reply.status == 500
    assert reply.json == {"error": "The service failed. See its log."}
    # The reply is sent before the log is written, by another thread.
    deadline = time.monotonic() + 30
    while "inner" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "inner" in caplog.text
    monkeypatch.undo()
    assert b'kind="internal"} 1.0' in server.get("/metrics").body


def test_request_that_the_end_cuts_off_gets_a_reply():
    """As uvicorn cancels it once `stop_timeout` is over."""
    sent = []

    async def endless(scope, receive, send):
        await asyncio.sleep(600)

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    async def main():
        guard = RequestGuard(
            endless, ServiceOptions(), ServiceMetrics(), frozenset()
        )
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        scope |= {"raw_path": b"/", "query_string": b""}
        request = asyncio.create_task(guard(scope, receive, send))
        await asyncio.sleep(0.05)
        request.cancel()
        await request

    asyncio.run(main())
    assert sent[0]["status"] == 503 and b"stops" in sent[1]["body"]


def test_same_question_from_many_threads(start_server):
    """Q9."""
    server = start_server()
    answers, start = [], time.monotonic()

    def ask():
        for _ in range(4):
            reply = json.loads(server.post("/v1/ask", ASK).body)
            answers.extend(reply["answers"])

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 128
    assert len({answer["answer"] for answer in answers}) == 1
    # Whatever they were computed with; see `Engine`.
    probabilities = [answer["probability"] for answer in answers]
    assert max(probabilities) - min(probabilities) < 1e-5
    assert time.monotonic() - start < 120


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "::", "", "a b"])
def test_other_hosts_are_not_this_machine(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.8.9.1", "[::1]", "LOCALHOST"])
def test_loopback_is_this_machine(host):
    assert is_loopback(host)
