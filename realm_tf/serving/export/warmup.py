"""tf_serving_warmup_requests: requests a server replays before it is ready.

The file is a TFRecord of `PredictionLog`, a message of TensorFlow Serving.
Its few fields are encoded here, so that an export needs no package of it.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

FILE_NAME = "tf_serving_warmup_requests"
_BYTES = 2  # wire type of strings and messages


def write_warmup(
    path: pathlib.Path,
    model: str,
    requests: Iterable[tuple[str, Mapping[str, np.ndarray]]],
) -> None:
    """Writes the file.

    Args:
        path: the file.
        model: name of the model.
        requests: signature and its inputs, for each request.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(_prediction_log(model, signature, inputs))


def _prediction_log(
    model: str, signature: str, inputs: Mapping[str, np.ndarray]
) -> bytes:
    model_spec = _field(1, model.encode()) + _field(3, signature.encode())
    request = _field(1, model_spec)
    for name, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    predict_log = _field(1, request)
    return _field(6, predict_log)


def _field(number: int, content: bytes) -> bytes:
    """A field of a message: its key, its length, its content."""
    return bytes(
        [*_varint(number << 3 | _BYTES), *_varint(len(content)), *content]
    )


def _varint(value: int) -> Iterator[int]:
    while value >= 0x80:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
