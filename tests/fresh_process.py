"""Runs SavedModels as a server does: in a session, ranks unchecked.

Each line of stdin is a JSON list of [folder, signature, {input: value}]; each
line of stdout one of {output: value} or {"error": type}.
"""

import base64
import functools
import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from tensorflow.core.protobuf import config_pb2

FLOATS = ("retrieval_scores",)


def as_array(name, value):
    if name in FLOATS:
        return np.array(value, np.float32)
    return np.vectorize(lambda text: text.encode(), otypes=[object])(value)


def as_json(array):
    if array.dtype != object:
        return array.tolist()
    texts = [base64.b64encode(raw).decode() for raw in array.ravel()]
    return np.array(texts, object).reshape(array.shape).tolist()


@functools.cache
def load(folder):
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    return session, meta.signature_def


@functools.cache
def prepare(folder, name):
    session, signatures = load(folder)
    signature = signatures[name]
    names = sorted(signature.inputs)
    options = config_pb2.CallableOptions(
        feed=[signature.inputs[name].name for name in names],
        fetch=[info.name for info in signature.outputs.values()],
    )
    # `session.run` would compare shapes, which servers do not.
    call = session._make_callable_from_options(options)
    return call, names, list(signature.outputs)


def answer(folder, signature, inputs):
    call, names, outputs = prepare(folder, signature)
    try:
        found = call(*(as_array(name, inputs[name]) for name in names))
    except tf.errors.OpError as error:
        return {"error": type(error).__name__}
    arrays = (as_json(np.asarray(array)) for array in found)
    return dict(zip(outputs, arrays, strict=True))


def main():
    for line in sys.stdin:
        replies = [answer(*request) for request in json.loads(line)]
        modules = {name.split(".")[0] for name in sys.modules}
        assert not modules & {"realm_tf", "keras_hub", "scann"}
        print(json.dumps(replies), flush=True)


main()
