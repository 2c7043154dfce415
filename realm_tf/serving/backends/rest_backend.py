"""RestBackend: a model server, over REST."""

import json
import threading
from typing import Any

import numpy as np
import urllib3

from realm_tf.errors import BackendError
from realm_tf.serving.backends.backend import Outputs
from realm_tf.serving.backends.model_server_backend import (
    PARALLEL_CALLS,
    ModelServerBackend,
)

_MAX_REPLY_BYTES = 256 * 2**20
# JSON does not tell int32 from int64, nor bytes from text.
_KINDS: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float32}


class RestBackend(ModelServerBackend):
    """Calls TensorFlow Serving's REST interface.

    A reply does not name the version that gave it, so each call asks for one:
    that of the export, or else the newest that is available, until the server
    no longer has it.

    Args:
        url: "http://HOST:PORT".
        timeout: seconds for a call.
    """

    def __init__(self, url: str, *, timeout: float = 20.0):
        super().__init__()
        self.url = url.rstrip("/")
        self._newest_known: dict[str, int] = {}
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            maxsize=2 * PARALLEL_CALLS,
            retries=False,
            timeout=urllib3.Timeout(timeout, connect=min(timeout, 5.0)),
        )

    def close(self) -> None:
        self._pool.clear()

    def predict(
        self, model: str, signature: str, inputs: dict[str, Any]
    ) -> tuple[Outputs, int]:
        body = json.dumps(
            {
                "signature_name": signature,
                "inputs": {k: _plain(v) for k, v in inputs.items()},
            }
        ).encode()
        version = self.pinned.get(model)
        if version:
            status, reply = self._predict(model, version, body)
        else:
            status, reply, version = self._predict_newest(model, body)
        outputs = reply.get("outputs")
        if status != 200 or not isinstance(outputs, dict):
            raise BackendError(
                f"{self.url} did not answer for `{model}`: {status}: "
                f"{reply.get('error', reply)!s:.300}."
            )
        return {k: _array(k, v) for k, v in outputs.items()}, version

    def _predict_newest(
        self, model: str, body: bytes
    ) -> tuple[int, dict[str, Any], int]:
        known = self._newest_known.get(model)
        version = known or self._newest(model)
        status, reply = self._predict(model, version, body)
        if status == 404 and known:  # it was taken out of service
            version = self._newest(model)
            status, reply = self._predict(model, version, body)
        with self._lock:
            self._newest_known[model] = version
        return status, reply, version

    def _predict(
        self, model: str, version: int, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        path = f"/v1/models/{model}/versions/{version}:predict"
        return self._call("POST", path, body)

    def _newest(self, model: str) -> int:
        status, reply = self._call("GET", f"/v1/models/{model}")
        try:
            return max(
                int(each["version"])
                for each in reply["model_version_status"]
                if each["state"] == "AVAILABLE"
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BackendError(
                f"{self.url} has no version of `{model}` in service: "
                f"{status}: {reply!s:.300}."
            ) from error

    def _call(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            reply = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers={"content-type": "application/json"},
                redirect=False,
                preload_content=False,
            )
            try:
                content = reply.read(_MAX_REPLY_BYTES)
            finally:
                reply.release_conn()
            decoded = json.loads(content)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise BackendError(
                f"{self.url} did not answer: {error!s:.300}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise BackendError(
                f"{self.url} did not answer with JSON: {reply.status}: "
                f"{content[:100]!r}."
            ) from error
        if not isinstance(decoded, dict):
            raise BackendError(
                f"{self.url} must answer with a JSON object. Received: "
                f"{type(decoded).__name__}."
            )
        return reply.status, decoded


def _plain(value: Any) -> Any:
    """Texts and numbers as JSON has them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode()
    return [_plain(each) for each in value]


def _array(name: str, value: Any) -> np.ndarray:
    """An array of what JSON holds; `fingerprint` and `text` are texts."""
    try:
        array = np.array(value)
        first = array.flat[0].item() if array.size else 0.0
        return array.astype(_KINDS.get(type(first), object))
    except ValueError as error:
        raise BackendError(
            f"`{name}` must be an array. Received: {error}."
        ) from error
