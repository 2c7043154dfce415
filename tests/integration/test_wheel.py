"""A built wheel has all that the package needs."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
METADATA = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the package; nothing is downloaded."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in METADATA:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "realm_tf",
        folder / "realm_tf",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*command, str(folder)], check=True, capture_output=True, timeout=300
    )
    (path,) = (folder / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_every_file_of_the_package(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "realm_tf").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in wheel.namelist() if name.startswith("realm_tf/")}
    assert found == expected
    kinds = {pathlib.Path(name).suffix for name in found}
    assert {".py", ".pyi", ".typed", ".txt", ".html", ".css", ".js"} <= kinds


def test_wheel_has_the_licence_and_nothing_of_the_tests(wheel):
    others = [n for n in wheel.namelist() if not n.startswith("realm_tf/")]
    assert {pathlib.Path(name).parts[0].split("-")[0] for name in others} == {
        "realm_tf"
    }
    assert any(name.endswith("/LICENSE") for name in others)
    (entries,) = (n for n in others if n.endswith("entry_points.txt"))
    assert "realm-tf = realm_tf.cli:main" in wheel.read(entries).decode()
