"""Runs SavedModels as a server does: in a session, ranks unchecked.

Each line of stdin is a JSON list of [folder, signature, {input: value}]; each
line of stdout one of {output: value} or {"error": type}.
"""

import base64
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


def answer(session, signature, inputs):
    options = config_pb2.CallableOptions(
        feed=[signature.inputs[name].name for name in inputs],
        fetch=[info.name for info in signature.outputs.values()],
    )
    # `session.run` would compare shapes, which servers do not.
    call = session._make_callable_from_options(options)
    try:
        found = call(*(as_array(*item) for item in inputs.items()))
    except tf.errors.OpError as error:
        return {"error": type(error).__name__}
    arrays = (as_json(np.asarray(array)) for array in found)
    return dict(zip(signature.outputs, arrays, strict=True))


def main():
    loaded = {}
    for line in sys.stdin:
        replies = []
        for folder, signature, inputs in json.loads(line):
            if folder not in loaded:
                session = tf.compat.v1.Session(graph=tf.Graph())
                with session.graph.as_default():
                    meta = tf.compat.v1.saved_model.load(
                        session, ["serve"], folder
                    )
                loaded[folder] = session, meta.signature_def
            session, signatures = loaded[folder]
            replies.append(answer(session, signatures[signature], inputs))
        modules = {name.split(".")[0] for name in sys.modules}
        assert not modules & {"realm_tf", "keras_hub", "scann"}
        print(json.dumps(replies), flush=True)


main()
