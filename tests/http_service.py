"""A query service in a thread, and a plain HTTP client for it."""

import contextlib
import http.client
import json
import threading
import time

from realm_tf.serving.service import http_server


class Reply:
    """Status, headers and content of an HTTP reply."""

    def __init__(self, reply):
        self.status = reply.status
        self.headers = {k.lower(): v for k, v in reply.getheaders()}
        self.body = reply.read()

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """A plain HTTP client of a service on this machine."""

    def __init__(self, port, token):
        self.port = port
        self.token = token

    def send(self, method, path, body=None, headers=None, timeout=300):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=timeout
        )
        with contextlib.closing(connection):
            if isinstance(body, dict | list):
                body = json.dumps(body).encode()
            given = {"content-type": "application/json"} if body else {}
            if self.token:
                given["authorization"] = f"Bearer {self.token}"
            given |= headers or {}
            given = {k: v for k, v in given.items() if v is not None}
            connection.request(method, path, body, given)
            return Reply(connection.getresponse())

    def get(self, path, **options):
        return self.send("GET", path, **options)

    def post(self, path, body, **options):
        return self.send("POST", path, body, **options)


class Server(Client):
    """A query service in a thread, and a plain HTTP client for it."""

    def __init__(self, service):
        self.service = service
        self.listening = http_server.open_socket("127.0.0.1", 0)
        self.url = http_server.url_of(self.listening)
        super().__init__(self.listening.getsockname()[1], service.options.token)
        started = []
        self.thread = threading.Thread(
            target=http_server.serve,
            args=(service, self.listening),
            kwargs={"on_start": started.append},
            daemon=True,
        )
        self.thread.start()
        self.wait(lambda: started)
        self.server = started[0]

    def wait(self, condition, seconds=300):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.service.problem
            time.sleep(0.01)

    def stop(self):
        self.server.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.listening.close()
