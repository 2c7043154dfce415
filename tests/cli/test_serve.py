import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import click
import pytest

from realm_tf.cli.serve import backend_opener
from realm_tf.client.realm_client import RealmClient
from realm_tf.errors import NotWriterError
from realm_tf.realm_qa import RealmQA
from realm_tf.serving.service.writer_role import WriterRole

RUN = "from realm_tf.cli import main; main()"


@pytest.fixture(scope="module")
def bundle(full_preset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve") / "bundle"
    RealmQA.from_preset(full_preset).export(folder)
    return folder


def test_bundle_is_served_until_sigterm(bundle, full_preset):
    """W13: the page, an answer, a document; then it ends with 0."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", "--bundle", bundle, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert line.startswith("Serving on http://127.0.0.1:")
        printed = process.stderr.readline()
        assert printed.startswith("Token for changes of documents: ")
        token = printed.split()[-1]
        assert len(token) == 43  # of 32 random bytes
        client = RealmClient(line.split()[-1], token=token)
        deadline = time.monotonic() + 240
        while not client.is_ready():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        qa = RealmQA.from_preset(full_preset)
        question = "Who wrote Emma?"
        assert client.ask(question).text == qa.ask(question).text
        client.add_documents([{"id": "new", "text": "Sofia is a city."}])
        assert client.index_status()["num_blocks"] == qa.index.num_blocks + 1
        with urllib.request.urlopen(client.url) as page:
            assert b"Ask the documents" in page.read()
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest


@contextlib.contextmanager
def served(bundle, *options):
    """A process of `realm-tf serve`, and its client; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", "--bundle", bundle]
        + ["--port", "0", "--token", "secret", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            line = process.stderr.readline()
            yield process, RealmClient(line.split()[-1], token="secret")
        finally:
            process.kill()


def wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_waiting_service_takes_over_from_a_killed_writer(bundle):
    """Three processes; a reader shows what both writers acknowledged."""
    with (
        served(bundle) as (process, writer),
        served(bundle) as (_, waiting),
        served(bundle, "--reader") as (_, reader),
    ):
        services = (writer, waiting, reader)
        wait(lambda: all(service.is_ready() for service in services))
        wait(lambda: writer.index_status()["role"] == "writer")
        before = reader.index_status()["num_blocks"]
        writer.add_documents([{"id": "a", "text": "Sofia is a city."}])
        assert reader.index_status()["num_blocks"] == before + 1
        with pytest.raises(NotWriterError) as caught:
            waiting.add_documents([{"id": "b", "text": "Skopje is a city."}])
        assert caught.value.writer == writer.url
        process.kill()
        wait(lambda: waiting.index_status()["role"] == "writer", 10)
        waiting.add_documents([{"id": "b", "text": "Skopje is a city."}])
        status = reader.index_status()
        assert status["role"] == "reader"
        assert status["num_blocks"] == before + 2
        with pytest.raises(NotWriterError) as caught:
            reader.delete_documents(["a"])
        assert caught.value.writer == waiting.url


def test_writer_is_reached_at_the_address_it_was_given(bundle, fail):
    said = fail("serve", "--bundle", bundle, "--url", "host:8600", "--port", 0)
    assert "`url` must be http://HOST:PORT" in said
    with served(bundle, "--url", "http://writer:1") as (_, writer):
        wait(writer.is_ready)
        wait(lambda: writer.index_status()["role"] == "writer")
        role = WriterRole(bundle / "index", is_reader=True)
        with pytest.raises(NotWriterError, match="writer, http://writer:1"):
            role.require()


def test_port_that_is_taken_is_said(bundle, fail):
    """H11."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = fail("serve", "--bundle", bundle, "--port", port)
    assert f"127.0.0.1:{port} must be a free address" in said


def test_token_that_cannot_be_sent_is_said(bundle, fail):
    said = fail("serve", "--bundle", bundle, "--token", "schl\u00fcssel")
    assert "`token` must be of printable ASCII" in said


def test_folder_that_is_no_bundle_is_said(full_preset, fail):
    assert "bundle.json" in fail("serve", "--bundle", full_preset)


@pytest.mark.parametrize("backend", ["tcp://a:1", "grpc://", "a:8500", "local"])
def test_backend_must_be_one_of_three(backend, tmp_path):
    with pytest.raises(click.UsageError, match="--backend must be inprocess"):
        backend_opener(backend, tmp_path, 1.0)


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("grpc://127.0.0.1:8500", "GrpcBackend"),
        ("http://127.0.0.1:8501", "RestBackend"),
    ],
)
def test_backend_is_opened_by_its_scheme(backend, name, tmp_path):
    pytest.importorskip("tensorflow_serving")
    opened = backend_opener(backend, tmp_path, 7.0)()
    assert type(opened).__name__ == name
    opened.close()


def test_backend_in_process_reads_the_bundle(bundle):
    opened = backend_opener("inprocess", bundle, 1.0)()
    assert type(opened).__name__ == "InProcessBackend"
    assert opened.embed_questions(["Who?"]).version == 1


def test_missing_extra_says_what_to_install(bundle):
    code = "import sys; sys.modules['fastapi'] = None"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {RUN}", "serve", "--bundle", bundle],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "pip install 'realm-tf[serve]'" in done.stderr
