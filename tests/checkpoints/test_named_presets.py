import pathlib

import pytest

from realm_tf.checkpoints.named_presets import (
    PRESETS,
    cache_folder,
    register_preset,
)
from realm_tf.errors import FolderError

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REALM_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_registered_preset_is_listed(tmp_path):
    register_preset("mine", "Answers about cities.", tmp_path)
    assert PRESETS["mine"].description == "Answers about cities."
    assert PRESETS["mine"].path == tmp_path
    register_preset("mine", "Answers about cities.", tmp_path)  # once more


def test_a_preset_is_looked_for_in_the_package_and_then_in_the_cache(cache):
    register_preset("mine", "", "presets/mine")
    with pytest.raises(FolderError, match="is not on this machine") as raised:
        _ = PRESETS["mine"].path
    assert str(cache / "presets" / "mine") in str(raised.value)
    (cache / "presets" / "mine").mkdir(parents=True)
    assert PRESETS["mine"].path == cache / "presets" / "mine"
    # This folder is in the package.
    register_preset("layers", "", "layers")
    (cache / "layers").mkdir()
    assert PRESETS["layers"].path.parent.name == "realm_tf"


@pytest.mark.parametrize("name", ["", "a/b", "hf://x", "."])
def test_a_name_must_be_no_path(name):
    with pytest.raises(ValueError, match="must be an identifier"):
        register_preset(name, "", "x")


def test_a_name_must_be_new():
    register_preset("mine", "", "x")
    with pytest.raises(ValueError, match="no other preset.*known: .*mine"):
        register_preset("mine", "", "y")


def test_the_cache_is_in_the_home_folder_unless_it_is_given(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("REALM_TF_CACHE")
    assert cache_folder() == pathlib.Path.home() / ".cache" / "realm_tf"
