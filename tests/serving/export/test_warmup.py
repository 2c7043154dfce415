import numpy as np
import pytest
import tensorflow as tf

from realm_tf.serving.export.module_builder import ModuleBuilder
from realm_tf.serving.export.warmup import FILE_NAME, write_warmup

logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


def read(path):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = logs.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        yield request.model_spec, inputs


def test_file_is_what_the_protos_say(tmp_path):
    inputs = {
        "question": np.array(["wér?".encode() * 100, b""], object),
        "scores": np.array([[1.5, -np.inf]], np.float32),
    }
    path = tmp_path / "requests"
    write_warmup(path, "realm_reader", [("embed", inputs), ("other", {})])
    (spec, got), (other, nothing) = read(path)
    assert (spec.name, spec.signature_name) == ("realm_reader", "embed")
    assert (other.signature_name, nothing) == ("other", {})
    assert set(got) == set(inputs)
    for name, value in inputs.items():
        np.testing.assert_array_equal(got[name], value)


def test_every_export_answers_its_warm_up(exported, fresh):
    for name in exported.models:
        folder = exported.model_path(name)
        asked = []
        for spec, inputs in read(folder / "assets.extra" / FILE_NAME):
            assert spec.name == name
            values = {
                key: value.tolist()
                if value.dtype != object
                else np.vectorize(bytes.decode)(value).tolist()
                for key, value in inputs.items()
            }
            asked.append([str(folder), spec.signature_name, values])
        assert asked
        assert not [r for r in fresh(*asked) if "error" in r]


def test_requests_name_all_signatures(exported, qa):
    builder = ModuleBuilder(qa.parts, None, None, {})
    for name in exported.models:
        model = tf.saved_model.load(str(exported.model_path(name)))
        asked = {signature for signature, _ in builder.requests(name)}
        assert asked == set(model.signatures)
