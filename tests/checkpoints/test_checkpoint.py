import json

import pytest

from realm_tf.checkpoints import load
from realm_tf.checkpoints.presets import read_preset
from realm_tf.errors import FolderError


@pytest.fixture
def checkpoint(release, tmp_path):
    return load(release.write_hugging_face(tmp_path / "source", "openqa"))


def test_a_preset_has_the_weights_the_card_and_the_source(checkpoint, tmp_path):
    path = tmp_path / "preset"
    checkpoint.save(path)
    parts = read_preset(path)
    for name, layer in checkpoint.parts.layers.items():
        for a, b in zip(
            layer.weights, getattr(parts, name).weights, strict=True
        ):
            assert (a.numpy() == b.numpy()).all(), a.path
    card = (path / "README.md").read_text("utf-8")
    assert f"Imported from {checkpoint.source}" in card
    assert "`pad_token_id` 1" in card
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["options"]["format"] == "RealmForOpenQA"


def test_a_preset_is_not_replaced_unasked(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "preset")
    with pytest.raises(FolderError, match="does not exist yet"):
        checkpoint.save(tmp_path / "preset")
    checkpoint.save(tmp_path / "preset", overwrite=True)
