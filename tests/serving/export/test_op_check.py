import pytest
import tensorflow as tf

from realm_tf.errors import ExportError, FolderError
from realm_tf.serving.bundle import QA, READER
from realm_tf.serving.export import op_check
from realm_tf.serving.export.op_check import (
    allowed_ops,
    check_saved_model,
    list_ops,
    needs_xla,
)


def save(folder, function, **options):
    module = tf.Module()
    module.function = tf.function(
        function, [tf.TensorSpec([None])], autograph=False, **options
    )
    tf.saved_model.save(module, str(folder), signatures=module.function)
    return folder


def test_list_is_that_of_this_tensorflow():
    from tensorflow.python.framework import op_def_registry

    for name in ("MatMul", "While", "FastBertNormalize", "NormalizeUTF8"):
        assert name in allowed_ops()
        assert op_def_registry.get(name) is not None
    assert not [op for op in allowed_ops() if "PyFunc" in op or "Scann" in op]


def test_exports_hold_allowed_operations_only(exported):
    for name in exported.models:
        ops = check_saved_model(exported.model_path(name))
        assert "FastBertNormalize" in ops and "EnsureShape" in ops
        assert not needs_xla(exported.model_path(name))
        size = (exported.model_path(name) / "saved_model.pb").stat().st_size
        assert size < 5 * 2**20
    assert "LookupTableFindV2" in list_ops(exported.model_path(QA))
    assert "LookupTableFindV2" not in list_ops(exported.model_path(READER))


def test_operations_of_python_are_refused(tmp_path):
    folder = save(
        tmp_path / "model",
        lambda x: tf.ensure_shape(
            tf.numpy_function(lambda y: y, [x], tf.float32), [None]
        ),
    )
    with pytest.raises(ExportError, match="Received: PyFunc in"):
        check_saved_model(folder)


def test_scann_passes_only_where_it_may(tmp_path, monkeypatch):
    folder = save(tmp_path / "model", lambda x: x + 1)
    monkeypatch.setattr(op_check, "SCANN_PREFIX", "Add")
    monkeypatch.setattr(
        op_check, "allowed_ops", lambda: allowed_ops() - {"AddV2"}
    )
    with pytest.raises(ExportError, match="AddV2"):
        check_saved_model(folder)
    assert "AddV2" in check_saved_model(folder, allow_scann=True)


def test_large_graphs_are_refused(tmp_path, monkeypatch):
    folder = save(tmp_path / "model", lambda x: x + tf.range(5_000.0)[:1])
    monkeypatch.setattr(op_check, "MAX_GRAPH_BYTES", 1_000)
    with pytest.raises(ExportError, match="at most 1000 bytes"):
        check_saved_model(folder)


def test_xla_is_noticed(tmp_path):
    assert needs_xla(save(tmp_path / "a", lambda x: x * 2, jit_compile=True))
    assert not needs_xla(save(tmp_path / "b", lambda x: x * 2))


def test_folder_without_a_graph_is_refused(tmp_path):
    with pytest.raises(FolderError, match="must hold saved_model.pb"):
        list_ops(tmp_path)
