"""realm-tf serve: the query service of an exported bundle."""

import pathlib
import secrets
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.class_options import class_options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.options import ServiceOptions

if TYPE_CHECKING:
    from realm_tf.serving.backends.backend import Backend

_IN_PROCESS = "inprocess"
_TOKEN_VARIABLE = "REALM_TF_TOKEN"
_TOKEN_BYTES = 32


@click.command(
    epilog=options.examples(
        "realm-tf serve --bundle bundle",
        "realm-tf serve --bundle bundle --backend grpc://127.0.0.1:8500",
        "realm-tf serve --bundle bundle --reader --port 8601",
        "curl -s 127.0.0.1:8600/v1/ask -H 'content-type: application/json' "
        '-d \'{"question": "Who wrote Emma?"}\'',
    )
)
@click.option(
    "--bundle",
    type=options.FOLDER,
    required=True,
    help="Folder that `realm-tf export` wrote, with a corpus.",
)
@click.option(
    "--backend",
    default=_IN_PROCESS,
    show_default=True,
    help="What runs the models: this process, or a TensorFlow Serving at "
    "grpc://HOST:PORT or http://HOST:PORT.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 is all addresses.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8600,
    show_default=True,
    help="Port to listen on; 0 takes a free port.",
)
@click.option(
    "--token",
    envvar=_TOKEN_VARIABLE,
    help="Bearer token that changes of documents and index must carry. "
    f"Default: ${_TOKEN_VARIABLE}, or a new one, which is printed.",
)
@class_options(
    ServiceOptions,
    *("request_timeout", "reader", "url"),
    flags={"request_timeout": "--timeout"},
)
@options.shared_options
def serve(
    bundle: pathlib.Path,
    backend: str,
    host: str,
    port: int,
    token: str | None,
    request_timeout: float,
    reader: bool,
    url: str | None,
) -> None:
    """Answers questions over HTTP, and shows a page to ask them.

    Documents can be added, replaced and deleted while the service runs, and
    new index versions are loaded without a lost request. SIGTERM stops the
    service after the requests in flight are answered.

    Of several services of one bundle, one is the writer. Others follow it, and
    one without --reader becomes the writer when there is none.
    """
    prepare_tensorflow()
    try:
        from realm_tf.serving.service import http_server
        from realm_tf.serving.service.query_service import QueryService
        from realm_tf.serving.service.request_guard import is_loopback
    except ImportError as error:
        raise click.ClickException(
            f"A package for serving is missing: {error}. Install all with "
            "`pip install 'realm-tf[serve]'`."
        ) from error
    open_backend = backend_opener(backend, bundle, request_timeout)
    with http_server.open_socket(host, port) as listening:
        service_options = ServiceOptions(
            request_timeout=request_timeout,
            token=token or secrets.token_urlsafe(_TOKEN_BYTES),
            is_local=is_loopback(host),
            reader=reader,
            url=url or http_server.url_of(listening),
        )
        service = QueryService(bundle, open_backend, service_options)
        console.print_note(f"Serving on {http_server.url_of(listening)}")
        if not token and not reader:
            console.print_note(
                f"Token for changes of documents: {service_options.token}"
            )
        http_server.serve(service, listening)


def backend_opener(
    backend: str, bundle: pathlib.Path, timeout: float
) -> Callable[[], "Backend"]:
    """What opens a backend, once TensorFlow may be imported.

    Args:
        backend: see `--backend`.
        bundle: the exported folder.
        timeout: seconds for a call.

    Raises:
        UsageError: if it is nothing of the kind.
    """
    url = urllib.parse.urlsplit(backend)
    if backend != _IN_PROCESS and not (
        url.scheme in ("grpc", "http", "https") and url.hostname
    ):
        raise click.UsageError(
            f"--backend must be {_IN_PROCESS}, grpc://HOST:PORT or "
            f"http://HOST:PORT. Received: {backend}."
        )

    def open_backend() -> "Backend":
        if backend == _IN_PROCESS:
            from realm_tf.serving.backends.in_process_backend import (
                InProcessBackend,
            )

            return InProcessBackend(bundle)
        if url.scheme == "grpc":
            from realm_tf.serving.backends.grpc_backend import GrpcBackend

            return GrpcBackend(url.netloc, timeout=timeout)
        from realm_tf.serving.backends.rest_backend import RestBackend

        return RestBackend(backend, timeout=timeout)

    return open_backend
