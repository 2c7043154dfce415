import numpy as np
import pytest
import tensorflow as tf

from realm_tf import _manifest
from realm_tf.errors import ExportError
from realm_tf.serving import bundle as bundles
from realm_tf.serving.export import saved_model
from realm_tf.serving.export.saved_model import remove_leftovers, write_version


class Doubling(tf.Module):
    def __init__(self, function=lambda x: x * 2):
        super().__init__()
        spec = tf.TensorSpec([None], tf.float32, "x")
        self._serve = tf.function(
            lambda x: {"y": function(x)}, [spec], autograph=False
        )

    @property
    def signatures(self):
        return {"serving_default": self._serve}


REQUESTS = [("serving_default", {"x": np.ones(1, np.float32)})]


def write(folder, module=None):
    with write_version(
        folder, "realm_qa", module or Doubling(), REQUESTS, {"reader": "r"}
    ) as version:
        (hidden,) = (folder / "realm_qa").glob(".*")
        _manifest.read_manifest(hidden, saved_model.KIND)  # whole already
        assert version not in bundles.model_numbers(folder, "realm_qa")
    return version


def test_versions_count_up_and_describe_themselves(tmp_path):
    (tmp_path / "realm_qa" / "7").mkdir(parents=True)
    assert [write(tmp_path), write(tmp_path)] == [8, 9]
    assert bundles.model_numbers(tmp_path, "realm_qa") == [7, 8, 9]
    folder = tmp_path / "realm_qa" / "9"
    manifest = _manifest.read_manifest(folder, saved_model.KIND)
    assert manifest.fingerprints == {"reader": "r"}
    assert "assets.extra/tf_serving_warmup_requests" in manifest.files
    model = tf.saved_model.load(str(folder))
    (y,) = model.signatures["serving_default"](x=tf.ones([2])).values()
    assert y.numpy().tolist() == [2.0, 2.0]


def test_w12_graph_and_then_manifest_are_written_last(tmp_path, monkeypatch):
    """Where a rename is not atomic, a part is not taken for a version."""
    seen = []
    write_warmup = saved_model.warmup.write_warmup
    sync = _manifest.sync

    def note(path):
        names = {p.name for p in path.parents[1].iterdir()}
        seen.append(names & {"saved_model.pb", "manifest.json"})

    def write_noted(path, *arguments):
        note(path)
        write_warmup(path, *arguments)

    def sync_noted(path):
        if path.name == "tf_serving_warmup_requests":
            note(path)
        sync(path)

    monkeypatch.setattr(saved_model.warmup, "write_warmup", write_noted)
    monkeypatch.setattr(_manifest, "sync", sync_noted)
    write(tmp_path)
    assert seen == [set(), {"saved_model.pb"}]


def test_refused_graph_leaves_no_version(tmp_path):
    def in_python(x):
        return tf.numpy_function(lambda y: y, [x], tf.float32)

    with pytest.raises(ExportError, match="PyFunc"):
        write(tmp_path, Doubling(in_python))
    assert list((tmp_path / "realm_qa").iterdir()) == []


def test_version_is_dropped_if_its_context_fails(tmp_path):
    arguments = (tmp_path, "realm_qa", Doubling(), REQUESTS, {})
    with pytest.raises(KeyError), write_version(*arguments):
        raise KeyError
    assert list((tmp_path / "realm_qa").iterdir()) == []


def test_leftovers_are_removed(tmp_path):
    models = tmp_path / "realm_qa"
    (models / ".1.writing-7-a" / "variables").mkdir(parents=True)
    (tmp_path / ".bundle.json.writing-7-a").touch()
    (models / "1").mkdir()
    remove_leftovers(tmp_path)
    assert [p.name for p in models.iterdir()] == ["1"]
    assert [p.name for p in tmp_path.iterdir()] == ["realm_qa"]
