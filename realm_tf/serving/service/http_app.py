"""The query service over HTTP: paths, replies and errors."""

import contextlib
import hmac
import importlib.resources
import json
import math
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import fastapi
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from realm_tf import _version
from realm_tf.client.answer_json import answer_json
from realm_tf.data.corpus.answer import Answer
from realm_tf.errors import (
    BadRequestError,
    FolderError,
    LockedError,
    MismatchError,
    NotWriterError,
    ServiceUnavailableError,
    TooLargeError,
    UnknownDocumentError,
    UnknownVersionError,
)
from realm_tf.options import ServiceOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.service import http_models as models
from realm_tf.serving.service.answer_pipeline import Found
from realm_tf.serving.service.query_service import QueryService
from realm_tf.serving.service.request_guard import RequestGuard

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.ErrorReply, "description": text}
    for status, text in (
        (400, "The request is not as described."),
        (413, "The request is larger than is taken."),
        (503, "Not now; `Retry-After` says when."),
    )
}
_WRITE_ERRORS = _ERRORS | {
    status: {"model": models.ErrorReply, "description": text}
    for status, text in (
        (401, "The bearer token is missing or wrong."),
        (403, "Writes are off, or the request is of another site."),
        (404, "There is no such document or version."),
        (507, "It cannot be written: the disk is full or read-only."),
    )
}
_WRITE_ERRORS[409] = {
    "model": models.NotWriterReply,
    "description": "The index is damaged or of other models, or another "
    "service makes its changes.",
}
# Of a class and its parents, the class counts.
_STATUS_OF_ERROR: tuple[tuple[type[Exception], int], ...] = (
    (BadRequestError, 400),
    (UnicodeEncodeError, 400),
    (TooLargeError, 413),
    (UnknownDocumentError, 404),
    (UnknownVersionError, 404),
    (MismatchError, 409),
    (FolderError, 409),
    (OSError, 507),
)
_MOST_NAME_CHARACTERS = 80
_SECONDS_LOCKED = 5  # until a write is tried again, if another process writes


class _Json(fastapi.Response):
    """JSON in ASCII: a lone surrogate has no UTF-8, and is escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode()


def build_app(service: QueryService) -> RequestGuard:
    """The ASGI application of a `QueryService`, guarded."""

    @contextlib.asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = fastapi.FastAPI(
        title="realm_tf query service",
        version=_version.__version__,
        description="Answers with their evidence, from an index of documents.",
        docs_url=None,  # its page would load files of other hosts
        redoc_url=None,
        redirect_slashes=False,  # would go to the `Host` that was sent
        lifespan=lifespan,
        default_response_class=_Json,
    )
    _add_questions(app, service)
    _add_writes(app, service)
    _add_status(app, service)
    _add_page(app)
    _add_errors(app, service.options)
    _describe(app)
    paths = frozenset(
        route.path for route in app.routes if hasattr(route, "path")
    )
    return RequestGuard(app, service.options, service.metrics, paths)


def _add_questions(app: fastapi.FastAPI, service: QueryService) -> None:
    @app.post("/v1/ask", responses={200: {"model": models.AskReply}, **_ERRORS})
    async def ask(request: models.AskRequest) -> _Json:
        """Answers one or many questions, each with its evidence."""
        answered = await service.ask(
            request.texts(service.options),
            top_k=_checked_top_k(request.top_k, service.options),
            num_alternatives=request.alternatives,
            threshold=request.threshold,
        )
        answers = [
            answer_json(a.answer) | {"models": a.models} for a in answered
        ]
        return _Json({"answers": answers})

    @app.post(
        "/v1/search", responses={200: {"model": models.SearchReply}, **_ERRORS}
    )
    async def search(request: models.SearchRequest) -> _Json:
        """Retrieves blocks for one or many questions, without reading."""
        found = await service.search(
            request.texts(service.options),
            top_k=_checked_top_k(request.top_k, service.options) or 1,
        )
        return _Json({"results": [_found_json(each) for each in found]})


def _add_writes(app: fastapi.FastAPI, service: QueryService) -> None:
    def check_writer(request: fastapi.Request) -> None:
        _check_not_of_another_site(request)
        if service.options.reader:
            service.role.require()  # whatever the token: it has none to give
        _check_token(request, service.options)

    writer = [fastapi.Depends(check_writer)]
    documents = {200: {"model": models.DocumentsReply}, **_WRITE_ERRORS}

    @app.post("/v1/documents", dependencies=writer, responses=documents)
    async def add_documents(request: models.DocumentsRequest) -> _Json:
        """Adds documents, or replaces those of the same id."""
        most = service.options.max_documents
        if len(request.documents) > most:
            raise TooLargeError(
                f"`documents` must hold at most {most}. Received: "
                f"{len(request.documents)}. Send several requests."
            )
        index, _ = await service.add_documents(
            [document.model_dump() for document in request.documents]
        )
        return _changed(index, added=len(request.documents))

    @app.delete("/v1/documents", dependencies=writer, responses=documents)
    async def delete_documents(
        id: Annotated[list[str], fastapi.Query(min_length=1)],
    ) -> _Json:
        """Deletes documents; all of them or, if one is unknown, none."""
        index = await service.delete_documents(id)
        return _changed(index, deleted=len(set(id)))

    index = {200: {"model": models.IndexReply}, **_WRITE_ERRORS}

    @app.post("/v1/index", dependencies=writer, responses=index)
    async def switch_index(request: models.IndexRequest) -> _Json:
        """Switches to the newest index version, rolls back, or compacts."""
        if request.compact and request.roll_back_to is not None:
            raise BadRequestError(
                "`compact` and `roll_back_to` must not be given together. "
                "Received: both. Send two requests."
            )
        if request.compact:
            await service.compact_index()
        else:
            await service.switch_index(request.roll_back_to)
        return _Json(await service.index_status())


def _add_status(app: fastapi.FastAPI, service: QueryService) -> None:
    @app.get("/v1/index", responses={200: {"model": models.IndexReply}})
    async def index() -> _Json:
        """Version, age and counts of the index in use."""
        return _Json(await service.index_status())

    @app.get("/healthz", responses={200: {"model": models.HealthReply}})
    async def healthz() -> _Json:
        """Whether the process is alive."""
        return _Json(_health(service, "alive"))

    ready: dict[int | str, dict[str, Any]] = {
        status: {"model": models.HealthReply, "description": text}
        for status, text in ((200, "Ready."), (503, "Not ready, and why."))
    }

    @app.get("/readyz", responses=ready)
    async def readyz() -> _Json:
        """Whether a real question was answered, and more can be."""
        if service.is_ready:
            return _Json(_health(service, "ready"))
        reply = _health(service, "not ready")
        return _Json(reply, 503, {"retry-after": "1"})

    @app.get("/metrics")
    async def metrics() -> fastapi.Response:
        """Metrics for Prometheus."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return fastapi.Response(service.exposition(), media_type=kind)


def _add_page(app: fastapi.FastAPI) -> None:
    folder = importlib.resources.files("realm_tf.serving.service") / "page"
    for path, (name, kind) in _PAGE.items():
        route = _page_route((folder / name).read_bytes(), kind)
        app.get(path, include_in_schema=False)(route)


def _page_route(content: bytes, kind: str) -> Any:
    async def page() -> fastapi.Response:
        return fastapi.Response(content, media_type=kind)

    return page


def _add_errors(app: fastapi.FastAPI, options: ServiceOptions) -> None:
    for kind, status in _STATUS_OF_ERROR:
        app.add_exception_handler(kind, _error_handler(status))

    async def invalid(_: fastapi.Request, error: Any) -> _Json:
        return _error(400, _explain(error, options))

    async def of_http(_: fastapi.Request, error: Any) -> _Json:
        return _error(error.status_code, str(error.detail), error.headers)

    async def unavailable(_: fastapi.Request, error: Any) -> _Json:
        seconds = getattr(error, "retry_after", _SECONDS_LOCKED)
        seconds = str(max(1, math.ceil(seconds)))
        return _error(503, str(error), {"retry-after": seconds})

    async def not_writer(_: fastapi.Request, error: Any) -> _Json:
        return _Json({"error": str(error), "writer": error.writer}, 409)

    async def failed(_: fastapi.Request, error: Any) -> _Json:
        return _error(500, "The service failed. See its log.")

    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(ServiceUnavailableError, unavailable)
    app.add_exception_handler(LockedError, unavailable)
    app.add_exception_handler(NotWriterError, not_writer)


def _describe(app: fastapi.FastAPI) -> None:
    """Takes FastAPI's 422 out of the interface: ours is 400."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _error_handler(status: int) -> Any:
    async def handle(_: fastapi.Request, error: Exception) -> _Json:
        return _error(status, str(error))

    return handle


def _error(status: int, message: str, headers: Any = None) -> _Json:
    return _Json({"error": message}, status, headers)


def _explain(error: Any, options: ServiceOptions) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    place = place[:_MOST_NAME_CHARACTERS]  # names of fields are the sender's
    if place == "top_k":
        return f"{_top_k_rule(options)} Received: {first['input']!r:.40}."
    return f"`{place}`: {first['msg']}. See /openapi.json."


def _top_k_rule(options: ServiceOptions) -> str:
    return f"`top_k` must be an integer from 1 to {options.max_top_k}."


def _checked_top_k(top_k: int | None, options: ServiceOptions) -> int | None:
    if top_k is not None and top_k > options.max_top_k:
        raise BadRequestError(
            f"{_top_k_rule(options)} Received: top_k={top_k}."
        )
    return top_k


def _check_not_of_another_site(request: fastapi.Request) -> None:
    if _is_of_another_site(request.headers):
        raise HTTPException(403, "Writes must not come from another site.")


def _check_token(request: fastapi.Request, options: ServiceOptions) -> None:
    if options.token is None:
        raise HTTPException(
            403, "Writes are off: the service was started without a token."
        )
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given, wanted = token.strip().encode(), options.token.encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given, wanted):
        raise HTTPException(
            401,
            "Writes need the bearer token of the service.",
            {"www-authenticate": "Bearer"},
        )


def _is_of_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says so; what is no browser says nothing.

    Source: `CrossOriginProtection` of Go's net/http.
    """
    site = headers.get("sec-fetch-site")
    if site:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urllib.parse.urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        return True


def _changed(index: BlockIndex, added: int = 0, deleted: int = 0) -> _Json:
    return _Json(
        {
            "added": added,
            "deleted": deleted,
            "num_blocks": index.num_blocks,
            "index_version": index.version,
            "num_updates": index.num_updates,
        }
    )


def _health(service: QueryService, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "problem": service.problem,
        "role": service.role.name,
        **service.index.place(),
    }


def _found_json(found: Found) -> dict[str, Any]:
    evidence = found.evidence
    return {
        "question": evidence.question,
        "truncated": evidence.truncated,
        "blocks": answer_json(Answer.none(evidence, 0.0))["blocks"],
        "index_version": evidence.index_version,
        "models": found.models,
    }
