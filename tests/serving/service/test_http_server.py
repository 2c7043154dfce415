import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from realm_tf.serving.service import http_server

ASK = {"question": "who?"}
SLEEPER = """
import asyncio, sys, types

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    print("asked", flush=True)
    await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})

# In place of the one that needs TensorFlow, which takes long to import.
stub = types.ModuleType("realm_tf.serving.service.http_app")
stub.build_app = lambda service: app
sys.modules[stub.__name__] = stub

from realm_tf.serving.service import http_server
from realm_tf.options import ServiceOptions

class Service:
    options = ServiceOptions(is_local=True)

listening = http_server.open_socket("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
http_server.serve(Service(), listening)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_answered_before_the_end(number):
    """W13."""
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True
    ) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert process.stdout.readline() == "asked\n"
            os.kill(process.pid, number)
            reply = b""
            while part := client.recv(1000):
                reply += part
        assert process.stdout.read() == "ended\n"
    assert reply.startswith(b"HTTP/1.1 200")
    assert reply.endswith(b"done\r\n0\r\n\r\n")
    assert process.returncode == 0


def test_port_zero_takes_a_free_one_and_ipv6_works():
    """H11."""
    with http_server.open_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert http_server.url_of(listening) == f"http://127.0.0.1:{port}"
    if socket.has_ipv6:
        with http_server.open_socket("[::1]", 0) as listening:
            assert http_server.url_of(listening).startswith("http://[::1]:")


def test_all_addresses_are_named_by_this_machine():
    with http_server.open_socket("0.0.0.0", 0) as listening:
        port = listening.getsockname()[1]
        name = socket.gethostname()
        assert http_server.url_of(listening) == f"http://{name}:{port}"


def test_address_in_use_is_said():
    """H11."""
    with http_server.open_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} must be a free"):
            http_server.open_socket("127.0.0.1", port)


def test_address_of_another_machine_is_refused():
    with pytest.raises(OSError, match="must be a free address"):
        http_server.open_socket("192.0.2.1", 0)


def test_connection_is_kept_for_another_request_and_then_closed(start_server):
    server = start_server(keep_alive_timeout=0.5)  # rounded up to 1
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        for _ in range(2):
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            reply = b""
            while not reply.endswith(b"}"):  # head and body may come apart
                assert (part := client.recv(1000))
                reply += part
            assert reply.startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        while client.recv(1000):
            pass
        assert time.monotonic() - start < 9
    assert server.post("/v1/ask", ASK).status == 200


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [(4096, 4096, 1024), (600, 4096, 1024), (600, 700, 60), (100, 100, 1)],
)
def test_connections_are_as_many_as_the_system_allows(soft, hard, allowed):
    code = (
        "from realm_tf.options import ServiceOptions\n"
        "import sys, types\n"
        "stub = types.ModuleType('realm_tf.serving.service.http_app')\n"
        "stub.build_app = None\n"
        "sys.modules[stub.__name__] = stub\n"
        "from realm_tf.serving.service import http_server\n"
        "print(http_server.allowed_connections(ServiceOptions()))"
    )
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard} && "
    command = limits + '"$0" -c "$1"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == allowed
    assert ("At most" in done.stderr) == (allowed < 1024)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 17_000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 17_000,
        b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
        b"GET /\r\nx\r\n\r\n",
    ],
)
def test_bad_heads_are_refused(server, head):
    """H4."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert server.get("/healthz").status == 200


def test_a_thread_can_stop_it(start_server):
    server = start_server()
    before = signal.getsignal(signal.SIGTERM)
    assert threading.current_thread() is threading.main_thread()
    server.server.stop()
    server.thread.join(30)
    assert not server.thread.is_alive()
    assert signal.getsignal(signal.SIGTERM) is before
