import importlib.util
import pathlib

import pytest

_FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def _module(name):
    path = _FIXTURES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def release():
    """The module `tests/fixtures/miniature_release.py`."""
    return _module("miniature_release")


@pytest.fixture(scope="session")
def garden():
    """The module `tests/fixtures/miniature_garden.py`."""
    return _module("miniature_garden")
