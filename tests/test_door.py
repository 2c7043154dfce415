import sys

import pytest

from realm_tf._door import open_door

STUB = """
from house import kitchen as kitchen
from house.hall import lamp as lamp
from house.hall import nothing as nothing
from house.cellar import wine as wine
from house.attic import bat as bat
from house.roof import ray as ray
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    for name, text in {
        "__init__.py": "",
        "__init__.pyi": STUB,
        "hall.py": "lamp = 'on'",
        "kitchen.py": "",
        "cellar.py": "import bottles",
        "attic.py": "import realm_tf.attic",
        "roof.py": "import apache_beam",
    }.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import house

    house.__getattr__, house.__dir__, house.__all__ = open_door("house")
    yield house
    for name in [n for n in sys.modules if n.split(".")[0] == "house"]:
        del sys.modules[name]


def test_names_are_those_of_the_stub(house):
    names = ["bat", "kitchen", "lamp", "nothing", "ray", "wine"]
    assert dir(house) == house.__all__ == names


def test_name_is_imported_when_it_is_first_used(house):
    assert "house.hall" not in sys.modules
    assert house.lamp == "on"
    assert vars(house)["lamp"] == "on"


def test_package_inside_is_imported(house):
    assert house.kitchen is sys.modules["house.kitchen"]


@pytest.mark.parametrize("name", ["garden", "nothing"])
def test_unknown_name_is_refused(house, name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(house, name)


def test_missing_package_is_named_with_the_command_that_installs_it(house):
    with pytest.raises(ImportError, match=r"`house\.wine` needs .*'realm-tf\["):
        _ = house.wine


def test_missing_beam_has_an_extra_of_its_own(house, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        ImportError, match=r"needs Apache Beam\. .*'realm-tf\[beam\]'"
    ):
        _ = house.ray


def test_fault_of_the_library_is_not_hidden(house):
    with pytest.raises(ModuleNotFoundError, match=r"realm_tf\.attic"):
        _ = house.bat
