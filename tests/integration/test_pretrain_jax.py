import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.realm_qa import RealmQA

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "pretrain_jax.py"


def run_on_jax(*arguments):
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("pretrain_jax", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(script, monkeypatch, capsys):
    """Runs a command in this process, which has TensorFlow already."""

    def run_here(*arguments):
        argv = ["pretrain_jax.py", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        script.main()
        return capsys.readouterr().out

    return run_here


def test_jax_trains_what_tensorflow_wrote(run, make_qa, city_corpus, tmp_path):
    pytest.importorskip("jax")
    preset, features = tmp_path / "preset", tmp_path / "features"
    make_qa().save_to_preset(preset)
    run(
        *("features", "--preset", preset, "--corpus", city_corpus.path),
        *("--output", features, "--num-batches", 2, "--batch-size", 2),
        *("--query-length", 24, "--masks", "random-tokens"),
    )
    output = {}
    for backend, train in (("jax", run_on_jax), ("tensorflow", run)):
        trained = tmp_path / f"{backend}.keras"
        output[backend] = train(
            *("train", "--features", features, "--output", trained),
            *("--learning-rate", 1e-2, "--num-warmup-steps", 0),
        )
        assert output[backend].startswith(f"{backend}: 2 steps of 2")
    losses = {
        name: float(text.split("loss ")[1].split(",")[0])
        for name, text in output.items()
    }
    assert losses["jax"] == pytest.approx(losses["tensorflow"], abs=1e-3)
    models: list[RealmPretrainer] = [
        keras.saving.load_model(tmp_path / f"{name}.keras", compile=False)
        for name in ("jax", "tensorflow")
    ]
    for one, other in zip(
        *(model.get_weights() for model in models), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=2e-3)
    realm = tmp_path / "realm"
    run(
        *("preset", "--preset", preset, "--output", realm),
        *("--trained", tmp_path / "jax.keras"),
    )
    before, after = RealmQA.from_preset(preset), RealmQA.from_preset(realm)
    moved = np.abs(
        np.array(after.query_embedder.projection.kernel)
        - np.array(before.query_embedder.projection.kernel)
    )
    assert moved.max() > 1e-3
    assert after.encoder is not None


def test_features_go_to_a_new_folder(script, monkeypatch, tmp_path):
    output = tmp_path / "features"
    output.mkdir()
    arguments = "features --preset a --corpus b --num-batches 1 --output"
    argv = ["pretrain_jax.py", *arguments.split(), str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit, match=f"{output}, which exists. Choose"):
        script.main()
    assert not list(output.iterdir())


def test_other_masks_are_refused(script, monkeypatch, capsys):
    arguments = "features --preset a --corpus b --num-batches 1 --output c"
    argv = ["pretrain_jax.py", *arguments.split(), "--masks", "salent"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit):
        script.main()
    assert "invalid choice: 'salent'" in capsys.readouterr().err


def test_projection_is_fitted_once(script, make_qa, city_corpus, tmp_path):
    preset, features = tmp_path / "preset", tmp_path / "features"
    qa = make_qa(pooling="mean")
    qa.projection_fitted = False
    qa.save_to_preset(preset)
    script.write_features(
        str(preset), str(city_corpus.path), features, 1, 2, 24, "random-tokens"
    )
    model: RealmPretrainer = keras.saving.load_model(features / "model.keras")
    qa.fit_projection(city_corpus)
    for weight, expected in zip(
        model.embedder.projection.get_weights(),
        qa.block_embedder.projection.get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(weight, expected, atol=1e-5)
    # Nor again when the trained preset is used.
    script.write_preset(str(preset), features / "model.keras", tmp_path / "new")
    assert RealmQA.from_preset(tmp_path / "new").projection_fitted
