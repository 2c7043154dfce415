"""Attacks on `realm-tf serve` over HTTP, on loopback and bounded in time."""

import contextlib
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import time

import pytest
from http_service import Client

pytestmark = pytest.mark.attack

NUM_INPUTS = 2_400
NUM_REQUESTS = 5_000
NUM_HALF_OPEN = 1_200  # more than the service takes
MOST_GROWTH_BYTES = 60e6
REPLY_SECONDS = 60.0
START_SECONDS = 300.0
SLOW_SECONDS = 40.0  # the service gives up after 20
SERVE = "from realm_tf.cli import main; main()"
TOKEN = "secret"
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
        lines += ["authorization: Bearer secret", "connection: close"]
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


def status_of(port, content, is_whole):
    """Status of the reply; 0 if the connection just ends.

    A request that is not whole would be waited for.
    """
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS) as client:
        reply = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(content)
            if not is_whole:
                client.shutdown(socket.SHUT_WR)
            while part := client.recv(65_536):
                reply += part
    lines = [part for part in reply.split(b"HTTP/1.1 ") if part]
    assert b"Traceback" not in reply
    return [int(line[:3]) for line in lines] or [0]


class RealService(Client):
    """`realm-tf serve` in a process of its own."""

    def __init__(self, bundle):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        super().__init__(port, TOKEN)
        arguments = ["serve", "--bundle", bundle, "--port", port]
        command = [sys.executable, "-c", SERVE, *arguments, "--token", TOKEN]
        self.process = subprocess.Popen(
            list(map(str, command)), stderr=subprocess.DEVNULL
        )

    def is_ready(self):
        assert self.process.poll() is None
        with contextlib.suppress(ConnectionError):
            return self.get("/readyz").status == 200

    def wait(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def memory(self):
        """Bytes of the service that are in memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            pages = int(file.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def num_files(self):
        """Files and connections that the service has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@pytest.fixture(scope="module")
def server(folders, tmp_path_factory):
    bundle = tmp_path_factory.mktemp("served") / "bundle"
    shutil.copytree(folders / "one" / "bundle", bundle)
    server = RealService(bundle)
    try:
        server.wait(server.is_ready, START_SECONDS)
        yield server
    finally:
        server.process.terminate()
        assert server.process.wait(60) == 0


@pytest.fixture
def many_files():
    """This process may open as many connections as it wants to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_input_is_the_fault_of_the_service(server, count):
    """Every one has a reply below 500 but 503, or ends its connection."""
    generator = random.Random(0)
    for number in range(NUM_INPUTS):
        kind, content = request_of(generator)
        for status in status_of(server.port, content, kind == "json"):
            assert status < 500 or status == 503, (number, content)
            outcome = f"{status // 100}xx" if status else "closed"
            count(f"HTTP, {kind}", outcome)
        if number % 200 == 0:
            assert server.get("/healthz", timeout=10).status == 200
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
def test_half_open_connections_keep_nobody_out(server, many_files, sent, count):
    """More of them than the service takes, and none is left."""
    before = server.num_files()
    with contextlib.ExitStack() as stack:
        for _ in range(NUM_HALF_OPEN):
            client = socket.create_connection(
                ("127.0.0.1", server.port), REPLY_SECONDS
            )
            stack.enter_context(client)
            with contextlib.suppress(ConnectionError):
                client.sendall(sent)
        start = time.monotonic()
        assert server.get("/healthz", timeout=30).status == 200
        assert server.post("/v1/ask", {"question": "who?"}).status == 200
        assert time.monotonic() - start < 30
        # They are not left open for ever, though nobody closes them here.
        server.wait(lambda: server.num_files() < before + 100, 120)
    count("HTTP, half-open connections", "others served", NUM_HALF_OPEN)


def test_a_client_of_single_bytes_is_given_up(server, count):
    slow = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 2_000
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 60) as client:
        with pytest.raises(ConnectionError):
            for place in range(len(slow)):
                client.sendall(slow[place : place + 1])
                time.sleep(0.05)
    assert time.monotonic() - start < SLOW_SECONDS
    count("HTTP, a byte at a time", "closed")


def test_memory_stays_flat(server, count):
    """Good, bad and refused requests in turn."""
    bodies = (
        ("POST", "/v1/ask", {"question": "who?"}),
        ("POST", "/v1/ask", {"question": "?"}),
        ("POST", "/v1/search", {"questions": [1] * 500}),
        ("POST", "/v1/documents", {"documents": [[]] * 9_000}),
        ("GET", "/v1/index", None),
        ("GET", "/none", None),
        ("DELETE", "/v1/documents?id=none", None),
    )
    sizes, num_late = [], 0
    for number in range(NUM_REQUESTS):
        reply = server.send(*bodies[number % len(bodies)])
        assert reply.status < 500 or reply.status == 503
        num_late += reply.status == 503
        if number % 500 == 499:
            sizes.append(server.memory())
    assert num_late < NUM_REQUESTS / 100
    growth = sizes[-1] - sizes[0]
    assert growth < MOST_GROWTH_BYTES, sizes
    count(
        "HTTP, good and bad requests in turn",
        f"memory grew by {growth / 1e6:.0f} MB",
        NUM_REQUESTS,
    )
