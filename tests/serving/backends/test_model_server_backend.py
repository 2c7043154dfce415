import dataclasses
import math

import numpy as np
import pytest
from local_backend import LocalBackend

from realm_tf.errors import BackendError, MismatchError
from realm_tf.serving.backends.grpc_backend import GrpcBackend
from realm_tf.serving.backends.rest_backend import RestBackend
from realm_tf.serving.bundle import MODEL_NAMES, READER, read_bundle


@pytest.fixture(params=["grpc", "http"])
def remote(request, model_server):
    if request.param == "grpc":
        remote = GrpcBackend(f"127.0.0.1:{model_server.grpc_port}", timeout=300)
    else:
        remote = RestBackend(f"http://127.0.0.1:{model_server.rest_port}")
    yield remote
    remote.close()


@pytest.fixture
def newer(backend):
    newer = LocalBackend(backend.qa, versions=(2, 2, 2))
    newer.reader_name = b"reader2"
    return newer


@pytest.fixture
def exports(bundle):
    """The first export, and a second one."""
    first = read_bundle(bundle)
    second = dataclasses.replace(
        first, reader_fingerprint="reader2", models=dict.fromkeys(MODELS, 2)
    )
    return first, second


MODELS = MODEL_NAMES[:3]


def read(remote):
    return remote.read(["a"], [[""]], [["b"]], np.zeros((1, 1)), 5)


def test_models_are_those_of_an_export(remote, model_server, newer, exports):
    first, second = (remote.of_export(export) for export in exports)
    for model in MODELS:
        model_server.arrive(newer, model, 0)
    for pinned, export, version in (
        (first, exports[0], 1),
        (second, exports[1], 2),
    ):
        assert pinned.embed_questions(["who?"]).version == version
        assert pinned.embed_blocks(["a"], ["b"]).version == version
        assert read(pinned).version == version
        pinned.check_export(export)
    assert read(remote).version == 2


def test_model_that_is_not_loaded_yet_fails_the_check(
    remote, model_server, newer, exports
):
    second = remote.of_export(exports[1])
    for model in MODELS:
        seconds = math.inf if model == READER else 0
        model_server.arrive(newer, model, seconds)
    with pytest.raises(BackendError, match="`realm_reader`.*not found"):
        second.check_export(exports[1])


def test_model_of_another_export_fails_the_check(remote, backend, exports):
    first = remote.of_export(exports[0])
    backend.reader_name = b"another"
    with pytest.raises(MismatchError, match="reader=another, expected reader"):
        first.check_export(exports[0])
