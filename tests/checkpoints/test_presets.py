import dataclasses
import json
import shutil

import h5py
import keras
import keras_hub
import numpy as np
import pytest
from safetensors.numpy import load_file

from realm_tf import _manifest
from realm_tf.checkpoints import presets
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

OPTIONS = {"num_read": 3, "projection_fitted": False}
QUESTIONS = ["when was it built?", "who?"]
made = []


@keras.saving.register_keras_serializable(package="test_presets")
class Trap:
    """Any registered class; a preset must not be able to make one."""

    def __init__(self):
        made.append(self)

    def __call__(self, x):
        return 0.0

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@pytest.fixture(scope="module")
def small_featurizer(featurizer):
    return Featurizer(
        featurizer.vocabulary,
        query_length=8,
        block_length=16,
        joint_length=24,
        joint_title=False,
        lowercase=False,
    )


@pytest.fixture(scope="module")
def make_trunk(featurizer):
    def make():
        return keras_hub.models.BertBackbone(
            vocabulary_size=featurizer.vocabulary_size,
            num_layers=1,
            num_heads=2,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=24,
            dropout=0.5,
        )

    return make


@pytest.fixture(scope="module")
def parts(small_featurizer, make_trunk):
    """Three layers with weights of their own."""
    query_embedder = Embedder(make_trunk(), embedding_dim=3, name="questions")
    block_embedder = Embedder(
        make_trunk(),
        embedding_dim=3,
        pooling="mean",
        layer_norm_epsilon=None,
        dropout=0.0,
    )
    reader = SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5)
    for layer in (query_embedder, block_embedder, reader):
        presets.build(layer)
    return presets.Parts(
        small_featurizer, query_embedder, block_embedder, reader, OPTIONS
    )


def write(path, parts):
    with _manifest.write_folder(path, presets.KIND) as writer:
        presets.write_preset(writer.path, parts)
    return path


@pytest.fixture(scope="module")
def preset(parts, tmp_path_factory):
    return write(tmp_path_factory.mktemp("presets") / "separate", parts)


@pytest.fixture
def craft(preset, tmp_path):
    """Changes config.json or files, with a manifest that fits."""

    def craft(change=lambda config: None, spoil=lambda folder: None):
        with _manifest.write_folder(
            tmp_path / "crafted", presets.KIND
        ) as writer:
            shutil.copytree(preset, writer.path, dirs_exist_ok=True)
            (writer.path / _manifest.MANIFEST_NAME).unlink()
            file = writer.path / presets.CONFIG_NAME
            config = json.loads(file.read_text())
            change(config)
            file.write_text(json.dumps(config))
            spoil(writer.path)
        return tmp_path / "crafted"

    return craft


def assert_equal_layers(layer, other):
    assert type(layer) is type(other)
    assert layer.get_config() == other.get_config()
    assert len(layer.weights) == len(other.weights) > 10
    for weight, same in zip(layer.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same.numpy())


def test_separate_embedders_come_back_bit_equal(preset, parts):
    read = presets.read_preset(preset)
    for name in ("query_embedder", "block_embedder", "reader"):
        assert_equal_layers(getattr(read, name), getattr(parts, name))
    assert read.query_embedder is not read.block_embedder


def test_shared_embedders_come_back_shared(parts, tmp_path):
    shared = presets.Parts(
        parts.featurizer,
        parts.query_embedder,
        parts.query_embedder,
        parts.reader,
        {},
    )
    folder = write(tmp_path / "shared", shared)
    assert not (folder / "block_embedder.safetensors").exists()
    read = presets.read_preset(folder)
    assert read.block_embedder is read.query_embedder
    assert_equal_layers(read.query_embedder, parts.query_embedder)


def test_options_and_featurizer_come_back(preset, parts):
    read = presets.read_preset(str(preset))
    assert read.options == OPTIONS
    assert read.featurizer.get_config() == parts.featurizer.get_config()
    assert read.featurizer.vocabulary == parts.featurizer.vocabulary


def test_dtype_is_the_policy_of_the_backbones_and_weights_stay_float32(
    preset, parts
):
    read = presets.read_preset(preset, dtype="mixed_bfloat16")
    for name in ("query_embedder", "block_embedder", "reader"):
        layer = getattr(read, name)
        assert layer.dtype_policy.name == "mixed_bfloat16"
        assert layer.backbone.dtype_policy.name == "mixed_bfloat16"
        saved = getattr(parts, name).get_weights()
        for weight, same in zip(layer.weights, saved, strict=True):
            assert weight.dtype == "float32"
            np.testing.assert_array_equal(weight.numpy(), same)
    states = read.reader.backbone(read.featurizer.questions(QUESTIONS))
    dtype = states["sequence_output"].dtype
    assert keras.backend.standardize_dtype(dtype) == "bfloat16"


def test_dtype_defaults_to_the_policy_of_keras(preset):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        read = presets.read_preset(preset)
    finally:
        keras.config.set_dtype_policy(before)
    assert read.reader.backbone.dtype_policy.name == "mixed_float16"


@pytest.mark.parametrize("part", ["block_embedder", "query_embedder"])
@pytest.mark.parametrize(("dropout", "changes"), [(None, True), (0.0, False)])
def test_dropout_is_that_of_backbones_and_embeddings_in_training(
    preset, dropout, changes, part
):
    embedder = getattr(presets.read_preset(preset, dropout=dropout), part)
    features = presets.read_preset(preset).featurizer.blocks(
        ["a"], ["the city"]
    )
    embedding = embedder(features, training=False).numpy()
    trained = embedder(features, training=True).numpy()
    assert (not np.array_equal(trained, embedding)) is changes


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "vocabulary.txt",
        "query_embedder.safetensors",
        "block_embedder.safetensors",
        "reader.safetensors",
    ],
)
def test_a_damaged_file_is_named(preset, tmp_path, name):
    folder = shutil.copytree(preset, tmp_path / "damaged")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        FolderError, match=f"{name} must hold what its manifest"
    ):
        presets.read_preset(folder)
    (folder / name).unlink()
    with pytest.raises(
        FolderError, match=f"{name} must hold what its manifest"
    ):
        presets.read_preset(folder, verify=False)


def test_verify_false_skips_the_hashes(preset, tmp_path):
    folder = shutil.copytree(preset, tmp_path / "changed")
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"num_read": 3', '"num_read": 4'))
    with pytest.raises(FolderError, match="config.json"):
        presets.read_preset(folder)
    assert presets.read_preset(folder, verify=False).options["num_read"] == 4


def test_calibration_is_checked(parts, tmp_path):
    options = OPTIONS | {"calibration": {"temperature": 2.0, "threshold": 0.5}}
    read = presets.read_preset(
        write(tmp_path / "good", dataclasses.replace(parts, options=options))
    )
    assert read.calibration == Calibration(2.0, 0.5)
    assert parts.calibration == Calibration()
    for bad in ({"temperature": 0.0}, {"slope": 1.0}, 5):
        options = OPTIONS | {"calibration": bad}
        folder = write(
            tmp_path / repr(bad), dataclasses.replace(parts, options=options)
        )
        with pytest.raises(FolderError, match="must hold the settings of"):
            presets.read_preset(folder)


def test_a_folder_that_is_no_preset_is_refused(tmp_path):
    with pytest.raises(
        FolderError, match="preset must be a folder with a manif"
    ):
        presets.read_preset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("options"), "KeyError: 'options'"),
        (lambda config: config["reader"].pop("backbone"), "'backbone'"),
        (lambda config: config.update(reader=[]), "TypeError"),
        (lambda config: config["reader"].update(backbone=7), "TypeError"),
        (
            lambda config: config["featurizer"].update(query_length=1),
            "at least 3",
        ),
        (
            lambda config: config["query_embedder"].update(embedding_dim=2),
            "which its weights fit",
        ),
    ],
)
def test_settings_that_make_no_preset_are_refused(craft, change, message):
    with pytest.raises(FolderError, match=message):
        presets.read_preset(craft(change))


def test_settings_hold_no_class_names(preset):
    text = (preset / "config.json").read_text()
    assert "class_name" not in text
    assert "module" not in text


def payloads(file):
    command = ["touch", str(file)]
    trap = {"registered_name": "test_presets>Trap", "config": {}}
    return [
        {"class_name": "Trap", "module": __name__, **trap},
        {"class_name": "test_presets>Trap", "config": {}},
        "test_presets>Trap",
        {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": command},
        },
        {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "system",
        },
        {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": {"class_name": "__lambda__", "config": {}}},
        },
        {"class_name": "__lambda__", "config": {"value": "bm90aGluZw=="}},
        [{"class_name": "Trap", "module": __name__, **trap}],
    ]


PLACES = [
    ["query_embedder", "activity_regularizer"],
    ["query_embedder", "layer_norm_epsilon"],
    ["query_embedder", "dtype"],
    ["query_embedder", "backbone"],
    ["query_embedder", "backbone", "activity_regularizer"],
    ["query_embedder", "backbone", "dropout"],
    ["query_embedder", "backbone", "build_config"],
    ["reader", "activity_regularizer"],
    ["reader", "layer_norm_epsilon"],
]


@pytest.mark.parametrize(
    ("place", "payload"),
    [(PLACES[0], payload) for payload in range(8)]
    + [(place, 0) for place in PLACES[1:]],
)
def test_a_class_in_the_settings_is_refused_and_never_made(
    craft, tmp_path, place, payload
):
    made.clear()
    touched = tmp_path / "touched"

    def change(config):
        *parents, last = place
        for parent in parents:
            config = config[parent]
        config[last] = payloads(touched)[payload]

    with pytest.raises(FolderError, match="config.json must hold the settings"):
        presets.read_preset(craft(change))
    assert not touched.exists()
    assert made == []


def external(group, name, tmp_path):
    shape = group[name].shape
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["x"] = np.zeros(shape, np.float32)
    del group[name]
    group[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")


def huge(group, name, tmp_path):
    del group[name]
    group.create_dataset(name, (10**12,), np.float32, chunks=(1024,))


def write_old_reader(folder, edit=lambda weights, name: None):
    """Gives a preset the file that readers had before, edited."""
    file = folder / "reader.safetensors"
    arrays = load_file(file)
    file.unlink()
    with h5py.File(folder / "reader.weights.h5", "w") as weights:
        for name, array in arrays.items():
            weights[name] = array
        edit(weights, min(arrays))


def with_reader(edit):
    """Spoils a preset: edits the first weight of its reader's old file."""
    return lambda folder: write_old_reader(folder, edit)


def test_weights_of_the_former_format_are_read(craft, parts):
    read = presets.read_preset(craft(spoil=write_old_reader))
    assert_equal_layers(read.reader, parts.reader)


# Keras says so before it refuses the file.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("attack", [external, huge])
def test_d13_weights_from_elsewhere_or_without_bound_are_refused(
    craft, tmp_path, attack
):
    spoil = with_reader(lambda file, name: attack(file, name, tmp_path))
    with pytest.raises(FolderError, match="must hold the settings"):
        presets.read_preset(craft(spoil=spoil))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_weights_that_are_no_numbers_are_refused(craft, bad):
    def edit(weights, name):
        weights[name][0] = bad

    spoil = with_reader(edit)
    with pytest.raises(FolderError, match="Weights must be finite.*reader"):
        presets.read_preset(craft(spoil=spoil))


def test_what_could_not_be_read_again_is_not_written(
    parts, make_trunk, tmp_path
):
    layer = Embedder(make_trunk(), embedding_dim=3, activity_regularizer="l2")
    presets.build(layer)
    bad = presets.Parts(parts.featurizer, layer, layer, parts.reader, {})
    with pytest.raises(ValueError, match="Embedder.*activity_regularizer"):
        write(tmp_path / "preset", bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["query_embedder", "block_embedder", "reader"])
def test_a_copy_is_equal_and_then_independent(parts, name):
    layer = getattr(parts, name)
    before = layer.get_weights()
    copy = presets.copy_layer(layer)
    assert_equal_layers(copy, layer)
    for weight in copy.weights:
        weight.assign(weight + 1.0)
    for weight, same, other in zip(
        layer.weights, before, copy.weights, strict=True
    ):
        np.testing.assert_array_equal(weight.numpy(), same)
        np.testing.assert_array_equal(other.numpy(), same + 1.0)


def test_build_leaves_built_layers_as_they_are(parts):
    before = parts.reader.get_weights()
    presets.build(parts.reader)
    for weight, same in zip(parts.reader.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), same)
