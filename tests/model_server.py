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

    Speaks the official protos and paths; a backend computes. `versions` are
    those in service, per model; `garbage` is answered in place of JSON. Over
    gRPC, calls beyond `max_calls` at once are refused and counted.
    """

    def __init__(self, backend, max_calls=8):
        outer = self
        self.backend = backend
        self.garbage = None
        self.delay = 0.0
        self.num_refused = 0
        self.max_calls = max_calls
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
                    outputs, version = outer.answer(spec.name, inputs)
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
                version = outer.backend.versions.get(model)
                if version is None:
                    return self.reply(404, {"error": f"No {model}."})
                states = {version: "AVAILABLE", version + 1: "LOADING"}
                status = [
                    {"version": str(v), "state": s} for v, s in states.items()
                ]
                return self.reply(200, {"model_version_status": status})

            def do_POST(self):
                size = int(self.headers["content-length"])
                request = json.loads(self.rfile.read(size))
                path = self.path.removesuffix(":predict").split("/")
                _, _, _, model, _, version = path
                if str(outer.backend.versions.get(model)) != version:
                    text = f"Servable not found for request: {model} {version}"
                    return self.reply(404, {"error": text})
                inputs = {
                    name: encode(value)
                    for name, value in request["inputs"].items()
                }
                outputs, _ = outer.answer(model, inputs)
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

    def answer(self, model, inputs):
        time.sleep(self.delay)
        if model not in self.backend.versions:
            raise KeyError(model)
        return self.backend.predict(model, "", inputs)

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
