import ast
import json
import pathlib
import subprocess
import sys
import zipfile

import keras
import keras_hub
import numpy as np
import pytest

from realm_tf import _registration, layers, losses, metrics, models, optimizers

FOLDER = pathlib.Path(_registration.__file__).parent
KNOWN = [*_registration._CLASSES.items(), *_registration._FUNCTIONS.items()]
LOAD = """
import json, sys
import {first}, {second}
import numpy as np
assert "realm_tf.layers" not in sys.modules
model = keras.saving.load_model(sys.argv[1])
with np.load(sys.argv[2]) as rows:
    np.testing.assert_allclose(model(dict(rows)), np.load(sys.argv[3]), 1e-5)
parts = model.layers[-1], model.optimizer, model.loss
model.save(sys.argv[4])
print(json.dumps([type(part).__module__ for part in parts]))
"""


def decorated():
    """Names of all that the source registers with Keras."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and any(
                "register_keras_serializable" in ast.dump(decorator)
                for decorator in node.decorator_list
            ):
                yield node.name


def test_every_serialisable_class_is_known():
    assert sorted(decorated()) == sorted(n for _, names in KNOWN for n in names)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model whose modules have moved since, its inputs and its outputs."""
    folder = tmp_path_factory.mktemp("saved")
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=5,
    )
    embedder = layers.Embedder(backbone, embedding_dim=4)
    names = ("token_ids", "segment_ids", "padding_mask")
    inputs = {n: keras.Input((5,), dtype="int32", name=n) for n in names}
    model = keras.Model(inputs, embedder(inputs))
    model.compile(
        optimizers.BertAdamW(optimizers.WarmupLinearDecay(1e-4, 10)),
        losses.MarginalLoss(),
        [metrics.exact_match, metrics.AnswerRecallAtK(5)],
    )
    model.optimizer.build(model.trainable_variables)
    rows = {name: np.ones((2, 5), "int32") for name in names}
    np.savez(folder / "rows.npz", **rows)
    np.save(folder / "output.npy", np.asarray(model(rows)))
    model.save(folder / "new.keras")
    with (
        zipfile.ZipFile(folder / "new.keras") as new,
        zipfile.ZipFile(folder / "moved.keras", "w") as moved,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                assert b'"module": "realm_tf.' in content
                content = content.replace(
                    b'"module": "realm_tf.', b'"module": "realm_tf.attic.'
                )
            moved.writestr(name, content)
    return folder


@pytest.mark.parametrize(
    ("first", "second"), [("keras", "realm_tf"), ("realm_tf", "keras")]
)
def test_saved_model_loads_in_a_new_process(saved, first, second, tmp_path):
    paths = [
        saved / "moved.keras",
        saved / "rows.npz",
        saved / "output.npy",
        tmp_path / "again.keras",
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(first=first, second=second), *paths],
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    assert json.loads(done.stdout) == [
        "realm_tf.layers.embedder",
        "realm_tf.optimizers.bert_adamw",
        "realm_tf.losses.marginal_loss",
    ]
    again = keras.saving.load_model(paths[-1])
    assert again.get_compile_config() == (
        keras.saving.load_model(saved / "new.keras").get_compile_config()
    )


def test_stand_ins_are_the_real_things():
    for kinds, stand_in in (
        (_registration._CLASSES, _registration._StandIn),
        (_registration._FUNCTIONS, _registration._stand_in),
    ):
        for room, names in kinds.items():
            for name in names:
                assert stand_in(room, name)
                assert _registration._load(room, name).__name__ == name


def test_looking_for_keras_without_importing_it_changes_nothing(monkeypatch):
    finder = _registration._KerasFinder()
    assert finder.find_spec("numpy", None) is None
    monkeypatch.setattr(sys, "meta_path", [finder])
    assert finder.find_spec("keras", None) is None
    assert models.OpenQA is keras.saving.get_registered_object(
        "realm_tf>OpenQA"
    )
