import contextlib
import socket
import threading
import time

import pytest

ASK = {"question": "who?"}
HEAD = b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\n"
PROMISE = HEAD + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n"


def closes(client):
    """Waits for the end of a connection; the reply before it."""
    reply = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1000):
            reply += part
    return reply


@pytest.mark.parametrize("sent", [b"", HEAD, PROMISE, PROMISE + b"{"])
def test_clients_that_send_nothing_keep_nobody_out(start_server, sent):
    server = start_server(max_connections=10, watch_interval=60)
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(40):
            client = socket.create_connection(address, 30)
            clients.append(stack.enter_context(client))
            client.sendall(sent)
        assert server.get("/healthz").status == 200
        assert server.post("/v1/ask", ASK).status == 200
        for client in clients[:30]:  # those that had waited longest
            closes(client)
        assert server.server.config.app.num_open <= 10
    server.wait(lambda: server.server.config.app.num_open == 0)


@pytest.mark.parametrize("sent", [b"", HEAD])
def test_head_must_arrive_in_time(start_server, sent):
    server = start_server(head_timeout=0.5)
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(sent)
        start = time.monotonic()
        assert closes(client) == b""
        assert time.monotonic() - start < 20


def test_a_request_that_is_answered_is_never_closed(start_server, backend):
    """Also beyond the times that clients have."""
    server = start_server(
        max_connections=1,
        head_timeout=0.2,
        body_timeout=0.2,
        keep_alive_timeout=0.2,
        watch_interval=60,
    )
    reached, go = threading.Event(), threading.Event()

    def wait(model):
        reached.set()
        go.wait(60)

    backend.fault = wait
    replies = []
    asking = threading.Thread(
        target=lambda: replies.append(server.post("/v1/ask", ASK))
    )
    asking.start()
    assert reached.wait(60)
    time.sleep(3)
    assert server.get("/healthz").status == 200
    go.set()
    asking.join()
    assert replies[0].status == 200
