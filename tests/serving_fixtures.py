"""Fixtures of exported models, bundles and services."""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from http_service import Server
from local_backend import NUM_ANSWERS, LocalBackend

from realm_tf.errors import BackendError
from realm_tf.options import ServiceOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QA,
    QUERY_EMBEDDER,
    READER,
    Bundle,
    write_bundle,
)
from realm_tf.serving.service.query_service import QueryService

FRESH = pathlib.Path(__file__).with_name("fresh_process.py")
QUICK = {
    "watch_interval": 0.2,
    "request_timeout": 300.0,
    "is_local": True,
    "token": "secret",
}


@pytest.fixture(scope="session")
def questions(cities):
    names = [article.title for article in cities]
    return [f"When was the school of {name} founded?" for name in names] + [
        "Where is Österreich?",
        "Who?",
        "in which country is " + "Vienna " * 20 + "?",
    ]


@pytest.fixture(scope="session")
def exported(qa, tmp_path_factory):
    """All models that need nothing but TensorFlow, for reading only."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    models = (QUERY_EMBEDDER, BLOCK_EMBEDDER, READER, QA)
    return qa.export(folder, models=models)


@pytest.fixture(scope="session")
def fresh():
    """Runs requests in a process with TensorFlow and TensorFlow Text only."""
    process = subprocess.Popen(
        [sys.executable, str(FRESH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )

    def run(*requests):
        process.stdin.write(json.dumps(requests) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the process ended with {process.wait()}"
        return json.loads(line)

    with process:
        yield run
        process.stdin.close()


@pytest.fixture(scope="session")
def served_qa(make_qa, city_corpus, tmp_path_factory):
    """A model with the index of the cities; not to be changed."""
    qa = make_qa()
    qa.num_read = 3
    qa.build_index(city_corpus, tmp_path_factory.mktemp("served") / "index")
    return qa


@pytest.fixture(scope="session")
def finished_bundle(served_qa, city_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "bundle"
    return make_bundle(served_qa, city_corpus, path)


@pytest.fixture
def bundle(finished_bundle, tmp_path):
    """A bundle folder of the model without SavedModels, to be changed."""
    return pathlib.Path(
        shutil.copytree(finished_bundle, tmp_path / "bundle", symlinks=True)
    )


def make_bundle(qa, corpus, path):
    path.mkdir()
    (path / "corpus").symlink_to(corpus.path)
    BlockIndex.build(
        path / "index",
        corpus,
        qa.block_embedding.corpus(corpus),
        embedder_fingerprint=qa.embedder_fingerprint,
    )
    words = "\n".join(qa.featurizer.vocabulary)
    (path / "vocabulary.txt").write_text(words + "\n", encoding="utf-8")
    write_bundle(
        Bundle(
            path=path,
            featurizer=qa.featurizer.get_config(),
            num_read=qa.num_read,
            num_answers=NUM_ANSWERS,
            max_span_width=qa.reader.max_span_width,
            embedding_dim=qa.query_embedder.embedding_dim,
            embedder_fingerprint=qa.embedder_fingerprint,
            reader_fingerprint="reader",
            tokenizer_fingerprint=qa.featurizer.fingerprint,
            models={QUERY_EMBEDDER: 1, BLOCK_EMBEDDER: 1, READER: 1},
            corpus="corpus",
            index="index",
        )
    )
    return path


@pytest.fixture
def backend(served_qa):
    return LocalBackend(served_qa)


@pytest.fixture
def run_service(bundle, backend):
    """Runs a coroutine function with a service that has started."""

    def run(function, *, ready=True, **options):
        async def main():
            service = QueryService(
                bundle, lambda: backend, ServiceOptions(**QUICK | options)
            )
            service._featurizer = backend.qa.featurizer  # saves compiling one
            await service.start()
            try:
                deadline = time.monotonic() + 300
                while ready and not service.is_ready:
                    assert time.monotonic() < deadline, service.problem
                    await asyncio.sleep(0.01)
                return await function(service)
            finally:
                await service.stop()

        return asyncio.run(main())

    return run


@pytest.fixture
def start_server(bundle, backend):
    """Starts query services over HTTP, and stops them."""
    servers = []

    def start(*, ready=True, open_backend=None, folder=None, **options):
        service = QueryService(
            folder or bundle,
            open_backend or (lambda: backend),
            ServiceOptions(**QUICK | options),
        )
        service._featurizer = backend.qa.featurizer
        servers.append(Server(service))
        if ready:
            servers[-1].wait(lambda: service.is_ready)
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server):
    """A query service over HTTP that is ready."""
    return start_server()


@pytest.fixture
def broken():
    """What a backend raises when it cannot be reached."""

    def fault(model):
        raise BackendError(f"{model} is away.")

    return fault


@pytest.fixture(scope="session")
def rounded():
    """Answers with float32 numbers, by which two can be compared."""

    def round_span(span):
        changed = {
            field.name: pytest.approx(
                getattr(span, field.name), rel=1e-6, abs=1e-6
            )
            for field in dataclasses.fields(span)
            if field.name.endswith(("probability", "probabilities", "scores"))
        }
        if hasattr(span, "alternatives"):
            changed["alternatives"] = tuple(map(round_span, span.alternatives))
        return dataclasses.replace(span, **changed)

    return lambda answers: [round_span(answer) for answer in answers]


@pytest.fixture
def start_model_server(backend):
    """Starts stand-ins for TensorFlow Serving with the tiny model."""
    pytest.importorskip("tensorflow_serving")
    from model_server import ModelServer

    with contextlib.ExitStack() as servers:

        def start(**options):
            server = ModelServer(backend, **options)
            servers.callback(server.stop)
            return server

        yield start


@pytest.fixture
def model_server(start_model_server):
    """A stand-in for TensorFlow Serving that answers with the tiny model."""
    return start_model_server()
