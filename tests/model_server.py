"""A stand-in for TensorFlow Serving on loopback."""

import concurrent.futures
import http.server
import json
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class ModelServer:
    """Answers as TensorFlow Serving does, over gRPC and REST on loopback.

    Speaks the official protos and paths; a backend computes, whose `versions`
    are on the disk and loaded. Others may `arrive`. As with the version policy
    "latest", the newest `num_versions` on the disk are wanted; a loaded version
    goes when it is not wanted and one that is wanted has loaded. `garbage` is
    answered in place of JSON. Over gRPC, calls beyond `max_calls` at once are
    refused and counted.
    """

    def __init__(self, backend, max_calls=8, num_versions=2):
        outer = self
        self.backend = backend
        self.garbage = None
        self.delay = 0.0
        self.num_refused = 0
        self.num_versions = num_versions
        self.arrived = {}  # (model, version) -> backend, and when it is loaded
        self.running = threading.Semaphore(max_calls)

        class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                if not outer.running.acquire(blocking=False):
                    outer.num_refused += 1
                    context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED,
                        "Server Threadpool Exhausted",
                    )
                try:
                    return self.predict(request, context)
                finally:
                    outer.running.release()

            def predict(self, request, context):
                spec = request.model_spec
                inputs = {
                    k: tf.make_ndarray(v) for k, v in request.inputs.items()
                }
                try:
                    version = spec.version.value or None
                    outputs, version = outer.answer(spec.name, version, inputs)
                except KeyError as error:
                    text = f"Servable not found for request: {error}"
                    context.abort(grpc.StatusCode.NOT_FOUND, text)
                reply = predict_pb2.PredictResponse()
                reply.model_spec.name = spec.name
                reply.model_spec.version.value = version
                for name, value in outputs.items():
                    tensor = tf.make_tensor_proto(value)
                    reply.outputs[name].CopyFrom(tensor)
                return reply

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                model = self.path.rpartition("/")[2]
                on_disk, serving = outer.on_disk(model), outer.serving(model)
                if not on_disk:
                    return self.reply(404, {"error": f"No {model}."})
                states = dict.fromkeys(serving, "AVAILABLE")
                loading = {
                    v: "LOADING" for v in on_disk if v > max(serving, default=0)
                }
                status = [
                    {"version": str(v), "state": s}
                    for v, s in (states | loading).items()
                ]
                return self.reply(200, {"model_version_status": status})

            def do_POST(self):
                size = int(self.headers["content-length"])
                request = json.loads(self.rfile.read(size))
                path = self.path.removesuffix(":predict").split("/")
                _, _, _, model, _, version = path
                inputs = {
                    name: encode(value)
                    for name, value in request["inputs"].items()
                }
                try:
                    outputs, _ = outer.answer(model, int(version), inputs)
                except KeyError as error:
                    text = f"Servable not found for request: {error}"
                    return self.reply(404, {"error": text})
                return self.reply(200, {"outputs": decode(outputs)})

            def reply(self, status, content):
                body = outer.garbage or json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        pool = concurrent.futures.ThreadPoolExecutor(64)
        self.grpc_server = grpc.server(pool)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Service(), self.grpc_server
        )
        self.grpc_port = self.grpc_server.add_insecure_port("127.0.0.1:0")
        self.grpc_server.start()
        self.rest_server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self.rest_port = self.rest_server.server_port
        threading.Thread(
            target=self.rest_server.serve_forever, daemon=True
        ).start()

    def arrive(self, backend, model, seconds):
        """A version appears on the disk, and is loaded in so many seconds."""
        place = model, backend.versions[model]
        self.arrived[place] = backend, time.monotonic() + seconds

    def on_disk(self, model):
        """Versions of a model, ascending -> backend, and when it is loaded."""
        versions = {v: b for (m, v), b in self.arrived.items() if m == model}
        if model in self.backend.versions:
            versions[self.backend.versions[model]] = self.backend, 0.0
        return dict(sorted(versions.items()))

    def serving(self, model):
        """Versions of a model that answer, ascending -> backend."""
        on_disk, now = self.on_disk(model), time.monotonic()
        loaded = {v: b for v, (b, ready) in on_disk.items() if ready <= now}
        wanted = list(on_disk)[-self.num_versions :]
        return {v: b for v, b in loaded.items() if v in wanted} or loaded

    def answer(self, model, version, inputs):
        time.sleep(self.delay)
        serving = self.serving(model)
        version = version or max(serving, default=None)
        if version not in serving:
            raise KeyError(model, version)
        return serving[version].predict(model, "", inputs)

    def stop(self):
        self.grpc_server.stop(None).wait()
        self.rest_server.shutdown()
        self.rest_server.server_close()


def encode(value):
    if isinstance(value, str):
        return value.encode()
    return [encode(v) for v in value] if isinstance(value, list) else value


def decode(value):
    if isinstance(value, dict):
        return {k: decode(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return decode(value.tolist())
    if isinstance(value, list):
        return [decode(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value
