import importlib
import sys

import pytest

from realm_tf.data.text import tensorflow_text as text_ops


@pytest.fixture
def broken(monkeypatch):
    """An importer that fails as the library of another release does."""

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "tensorflow_text":
                raise RuntimeError("undefined symbol")

    monkeypatch.delitem(sys.modules, "tensorflow_text")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])


def test_e2_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(ImportError, match="pip install 'tensorflow~=2.20"):
        importlib.reload(text_ops)


def test_e5_library_of_another_release_says_what_to_install(broken):
    match = "pip install.*RuntimeError: undefined symbol"
    with pytest.raises(ImportError, match=match):
        importlib.reload(text_ops)
