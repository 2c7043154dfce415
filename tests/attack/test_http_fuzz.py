"""Attacks on the query service over HTTP, on loopback and bounded in time.

Run with `pytest -m attack`; prints a table of what was tried.
"""

import collections
import contextlib
import json
import os
import random
import socket
import time

import pytest

pytestmark = pytest.mark.attack

NUM_INPUTS = 2_400
NUM_REQUESTS = 5_000
MOST_GROWTH_BYTES = 60e6
REPLY_SECONDS = 60.0
PATHS = (
    *("/v1/ask", "/v1/search", "/v1/documents", "/v1/index", "/healthz"),
    *("/readyz", "/metrics", "/openapi.json", "/", "/page.js", "/page.css/"),
    *("/..%2f..%2fetc/passwd", "//", "/%00", "/v1/ask?top_k=1", "/v1/ask#a"),
    *("/v1/documents?id=", "/v1/documents?id=a&id=b", "/\xff", "*", "a"),
    "http://evil.example/",
)
METHODS = (
    *("GET", "POST", "POST", "POST", "POST", "PUT", "DELETE", "HEAD"),
    *("OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "A" * 50, "P\x00ST"),
)
VALUES = (
    *(None, True, 0, -1, 1e308, 10**400, 0.5, "", "who?", "\x00", "\ud800"),
    *("a" * 9_000, "\n" * 9_000, "[MASK] [SEP]", "<script>", "\U0001f600"),
    *([], {}, [[]], [None], {"a": 1}, ["who?"] * 65, [{}] * 300, ["who?"]),
    *({"id": "a", "text": ""}, [{"id": "a"}], [{"id": 1, "text": "b"}]),
)
NAMES = (
    *("question", "questions", "top_k", "alternatives", "threshold"),
    *("documents", "roll_back_to", "", "__proto__", "\u0000", "a" * 500),
)
HEADERS = (
    *("host: evil.example", "host: ", "host: localhost", "host: [", "a"),
    *("content-type: text/plain", "content-encoding: gzip", "a: " + "b" * 9000),
    *("content-length: -1", "content-length: 99999999999", "a : b", ": a"),
    *("content-length: 5\r\ncontent-length: 6", "transfer-encoding: chunked"),
    *("transfer-encoding: gzip", "expect: 100-continue", "upgrade: websocket"),
    *("connection: upgrade", "connection: close", "authorization: Bearer x"),
    *("x-forwarded-for: 10.0.0.1", "origin: null", "te: trailers", "\x00: a"),
    *("range: bytes=0-1", "x-http-method-override: DELETE", "a: b\r\n c"),
)
CHUNKS = (b"5\r\nhello\r\n0\r\n\r\n", b"g\r\n", b"ffffffffff\r\n", b"-1\r\n")


def json_body(generator):
    fields = {
        generator.choice(NAMES): generator.choice(VALUES)
        for _ in range(generator.randrange(5))
    }
    return json.dumps(fields).encode()


def damaged(generator, content):
    """Flips, cuts, repeats or inserts bytes."""
    content = bytearray(content)
    for _ in range(generator.randrange(1, 6)):
        place = generator.randrange(len(content) + 1)
        how = generator.randrange(4)
        if how == 0 and place < len(content):
            content[place] ^= 1 << generator.randrange(8)
        elif how == 1:
            del content[place : place + generator.randrange(8)]
        elif how == 2:
            content[place:place] = content[place : place + 20]
        else:
            content[place:place] = generator.randbytes(3)
    return bytes(content)


def request_of(generator):
    """Bytes of a request, and what is wrong with it."""
    kind = generator.choice(("json", "head", "chunked", "flipped", "random"))
    if kind == "random":
        return kind, generator.randbytes(generator.randrange(1, 2_000))
    body = json_body(generator)
    method, path = generator.choice(METHODS), generator.choice(PATHS)
    lines = ["content-type: application/json", "host: localhost"]
    if kind == "json":
        method, path = "POST", generator.choice(PATHS[:4])
        lines.append("authorization: Bearer secret")
    if kind == "head":
        lines = generator.sample(HEADERS, generator.randrange(4))
    if kind == "chunked":
        method, body = "POST", generator.choice(CHUNKS)
        lines.append("transfer-encoding: chunked")
    elif generator.random() < 0.9:
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
    content = head.encode("latin-1") + body
    if kind == "flipped":
        content = damaged(generator, content)
    return kind, content


def status_of(port, content):
    """Status of the reply; 0 if the connection just ends."""
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS) as client:
        reply = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65_536):
                reply += part
    lines = [part for part in reply.split(b"HTTP/1.1 ") if part]
    assert b"Traceback" not in reply
    return [int(line[:3]) for line in lines] or [0]


def memory():
    """Bytes of this process that are in memory, the service's included."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def server(start_server):
    return start_server(watch_interval=60, request_timeout=30.0)


def test_no_input_is_the_fault_of_the_service(server):
    """Every one has a reply below 500 but 503, or ends its connection."""
    generator, counts = random.Random(0), collections.Counter()
    for number in range(NUM_INPUTS):
        kind, content = request_of(generator)
        for status in status_of(server.port, content):
            assert status < 500 or status == 503, (number, content)
            counts[kind, status] += 1
        if number % 200 == 0:
            assert server.get("/healthz", timeout=10).status == 200
    for (kind, status), count in sorted(counts.items()):
        print(f"| {kind} | {status or 'closed'} | {count} |")
    assert server.post("/v1/ask", {"question": "who?"}).status == 200
    assert server.get("/readyz").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost: loc",
        b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: 999\r\n\r\n{",
    ],
)
def test_half_open_connections_keep_nobody_out(start_server, sent):
    """More of them than the service takes, twice, and none is left."""
    server = start_server(max_connections=100, watch_interval=60)
    address, watch = ("127.0.0.1", server.port), server.server.config.app
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                client = socket.create_connection(address, REPLY_SECONDS)
                stack.enter_context(client)
                with contextlib.suppress(ConnectionError):
                    client.sendall(sent)
            start = time.monotonic()
            assert server.get("/healthz", timeout=30).status == 200
            assert server.post("/v1/ask", {"question": "who?"}).status == 200
            assert time.monotonic() - start < 30
            assert watch.num_open <= 101
    server.wait(lambda: watch.num_open == 0, 60)


def test_a_client_of_single_bytes_is_given_up(start_server):
    server = start_server(head_timeout=1.0, body_timeout=1.0)
    slow = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 2_000
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 60) as client:
        with pytest.raises(ConnectionError):
            for place in range(len(slow)):
                client.sendall(slow[place : place + 1])
                time.sleep(0.05)
    assert time.monotonic() - start < 30


def test_memory_stays_flat(server):
    """Good, bad and refused requests in turn, over one and many connections."""
    bodies = (
        ("POST", "/v1/ask", {"question": "who?"}),
        ("POST", "/v1/ask", {"question": "?"}),
        ("POST", "/v1/search", {"questions": [1] * 500}),
        ("POST", "/v1/documents", {"documents": [[]] * 9_000}),
        ("GET", "/v1/index", None),
        ("GET", "/none", None),
        ("DELETE", "/v1/documents?id=none", None),
    )
    sizes = []
    for number in range(NUM_REQUESTS):
        reply = server.send(*bodies[number % len(bodies)])
        assert reply.status < 500
        if number % 500 == 499:
            sizes.append(memory())
    print(
        f"| memory | {NUM_REQUESTS} requests | {sizes[-1] - sizes[0]} bytes |"
    )
    assert sizes[-1] - sizes[0] < MOST_GROWTH_BYTES
