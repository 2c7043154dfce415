import pytest

from realm_tf.serving.bundle import QA, QUERY_EMBEDDER, READER, SCANN_QA
from realm_tf.serving.export.server_configs import write_server_configs


def parsed(path, name="models.config"):
    pytest.importorskip("tensorflow_serving.config")
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = (path / name).read_text("utf-8")
    message = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(text, message)
    return {m.name: m for m in message.model_config_list.config}


def test_models_are_where_the_server_sees_them(tmp_path):
    folder = tmp_path / 'a "ü" b'
    folder.mkdir()
    write_server_configs(folder, [READER, QA], None)
    models = parsed(folder)
    assert models[READER].base_path == str(folder / READER)
    assert models[READER].model_platform == "tensorflow"
    assert models[READER].model_version_policy.latest.num_versions == 2
    assert models[QA].model_version_policy.latest.num_versions == 1
    write_server_configs(folder, [QUERY_EMBEDDER], "/models/")
    (model,) = parsed(folder).values()
    assert model.base_path == "/models/realm_query_embedder"


def test_stock_servers_are_not_told_of_the_model_with_scann(tmp_path):
    write_server_configs(tmp_path, [READER], None)
    assert not (tmp_path / "scann_models.config").exists()
    write_server_configs(tmp_path, [READER, SCANN_QA], None)
    assert set(parsed(tmp_path)) == {READER}
    assert set(parsed(tmp_path, "scann_models.config")) == {SCANN_QA}


def test_other_files_hold_what_servers_read(tmp_path):
    write_server_configs(tmp_path, [READER], None)
    text = (tmp_path / "monitoring.config").read_text()
    assert 'path: "/monitoring/prometheus/metrics"' in text
    text = (tmp_path / "batching.config").read_text()
    assert "pad_variable_length_inputs: false" in text
