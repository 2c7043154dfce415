"""GrpcBackend: a model server, over gRPC."""

import random
import time
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.errors import BackendError, BackendFullError
from realm_tf.serving.backends.backend import Outputs
from realm_tf.serving.backends.call_limit import CallLimit
from realm_tf.serving.backends.model_server_backend import (
    PARALLEL_CALLS,
    ModelServerBackend,
)

_MAX_MESSAGE_BYTES = 256 * 2**20
_RECONNECT_MILLISECONDS = 2_000
_PAUSE_SECONDS = 0.01  # before a refused call is made again; doubles
_LONGEST_PAUSE_SECONDS = 0.5
_TOO_LATE = "DEADLINE_EXCEEDED"
# What a server that has no thread or no room left says, besides its code. With
# the same code it refuses a message that is too large.
_FULL = ("Threadpool Exhausted", "queue", "Concurrent RPC limit")


class GrpcBackend(ModelServerBackend):
    """Calls TensorFlow Serving's PredictionService.

    A server grants four calls a processor (`--grpc_max_threads`) and refuses
    others at once. These are made again, and from then on fewer at once.

    Args:
        target: "HOST:PORT". If the name has several addresses, as that of a
            pool of servers has, they take turns.
        timeout: seconds for a call, with all that it waits.

    Raises:
        ImportError: if tensorflow-serving-api is missing.
    """

    def __init__(self, target: str, *, timeout: float = 20.0):
        try:
            import grpc
            from tensorflow_serving.apis import (
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            raise ImportError(
                "A model server over gRPC needs its API. Received: "
                f"{error}. Install it with `pip install 'realm-tf[serve]'`."
            ) from error
        super().__init__()
        self.target = target
        self.timeout = timeout
        self._limit = CallLimit(2 * PARALLEL_CALLS)  # embedder and reader
        self._error = grpc.RpcError
        self._request = predict_pb2.PredictRequest
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", _RECONNECT_MILLISECONDS),
                ("grpc.enable_http_proxy", 0),
                # Of a name with several addresses, each server gets its turn.
                ("grpc.lb_policy_name", "round_robin"),
            ],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def close(self) -> None:
        self._channel.close()

    def predict(
        self, model: str, signature: str, inputs: dict[str, Any]
    ) -> tuple[Outputs, int]:
        request = self._request()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if model in self.pinned:
            request.model_spec.version.value = self.pinned[model]
        for name, value in inputs.items():
            # Of nested lists of bytes NumPy would make fixed-width ones.
            if not isinstance(value, np.ndarray):
                value = np.array(value, object)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            reply = self._call(request)
            outputs = {
                name: tf.make_ndarray(tensor)
                for name, tensor in reply.outputs.items()
            }
        except TimeoutError as error:
            raise BackendFullError(
                f"{self.target} took no call for `{model}` in "
                f"{self.timeout:g} s, as it had others to answer."
            ) from error
        except self._error as error:
            raise BackendError(
                f"{self.target} did not answer for `{model}`: "
                f"{error.code().name}: {error.details()!s:.300}."
            ) from error
        except (TypeError, ValueError) as error:
            raise BackendError(
                f"{self.target} did not answer with tensors: {error}."
            ) from error
        return outputs, reply.model_spec.version.value

    def _call(self, request: Any) -> Any:
        """Calls until the server takes the call.

        Raises:
            TimeoutError: if it takes none in time.
        """
        deadline, pause = time.monotonic() + self.timeout, _PAUSE_SECONDS
        was_refused = False
        while True:
            with self._limit.slot(deadline):
                rest = max(deadline - time.monotonic(), 0.0)
                try:
                    reply = self._stub.Predict(request, timeout=rest)
                    self._limit.count_answer()
                    return reply
                except self._error as error:
                    if was_refused and error.code().name == _TOO_LATE:
                        raise TimeoutError from error
                    if not _is_full(error):
                        raise
                    self._limit.lower()
                    was_refused = True
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            time.sleep(pause * random.uniform(0.5, 1.0))


def _is_full(error: Any) -> bool:
    codes = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
    details = error.details() or ""
    return error.code().name in codes and any(word in details for word in _FULL)
