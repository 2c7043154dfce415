"""GrpcBackend: a model server, over gRPC."""

from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf.errors import BackendError
from realm_tf.serving.backends.backend import Backend, Outputs

_PARALLEL_CALLS = 8
_MAX_MESSAGE_BYTES = 256 * 2**20
_RECONNECT_MILLISECONDS = 2_000


class GrpcBackend(Backend):
    """Calls TensorFlow Serving's PredictionService.

    Args:
        target: "HOST:PORT".
        timeout: seconds for a call.

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
        self.target = target
        self.timeout = timeout
        self._error = grpc.RpcError
        self._request = predict_pb2.PredictRequest
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", _RECONNECT_MILLISECONDS),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    @property
    def num_parallel(self) -> int:
        return _PARALLEL_CALLS

    def close(self) -> None:
        self._channel.close()

    def predict(
        self, model: str, signature: str, inputs: dict[str, Any]
    ) -> tuple[Outputs, int]:
        request = self._request()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            # Of nested lists of bytes NumPy would make fixed-width ones.
            if not isinstance(value, np.ndarray):
                value = np.array(value, object)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            reply = self._stub.Predict(request, timeout=self.timeout)
            outputs = {
                name: tf.make_ndarray(tensor)
                for name, tensor in reply.outputs.items()
            }
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
