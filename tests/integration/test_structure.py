"""Rules of the whole package that no single module can test."""

import ast
import doctest
import importlib
import math
import os
import pathlib
import pkgutil
import re
import subprocess
import sys
import tempfile

import keras
import keras_hub
import numpy as np
import pytest

import realm_tf

ROOT = pathlib.Path(realm_tf.__file__).parent
TESTS = pathlib.Path(__file__).parents[1]
# A module may import what stands in an earlier row, and its own folder. The
# longest prefix decides where a module stands.
ROWS = """
_version _constants _door _registration _progress
errors
options
_files _resources
_replacement
_manifest
_replicas
layers
losses metrics optimizers
data.text
data.corpus
data.questions data.spans
data.published
client
retrieval.searchers
retrieval.index
evaluation
checkpoints.files
checkpoints
engine.official
engine
serving.bundle
serving.export
serving.backends
serving.service
models
training.step_callback
training.refresh
training.datasets
training
pipelines
realm_qa
cli.ui
cli
"""
LEVELS = {
    prefix: level
    for level, row in enumerate(ROWS.split("\n"))
    for prefix in row.split()
}
MAX_FILES = 18
MAX_STATEMENTS = 240
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages([str(ROOT)], "realm_tf.")
    if not name.endswith("__main__")
)
SOURCES = sorted(ROOT.rglob("*.py"))


def room(module):
    """The longest prefix of `realm_tf.x.y` that has a row; None for a door."""
    parts = module.split(".")[1:]
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in LEVELS), None)


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path):
    """Modules that a file imports, at run time or for its type hints."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def circles(graph):
    """Modules that reach themselves."""
    reached = {
        name: found & graph.keys() - {name} for name, found in graph.items()
    }
    for middle in graph:
        for found in reached.values():
            if middle in found:
                found |= reached[middle]
    return sorted(name for name, found in reached.items() if name in found)


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_to_an_earlier_row_or_stay_in_the_folder(path):
    if path.name == "__init__.py":  # doors name what lies behind them
        return
    name = module_name(path)
    own = room(name)
    wrong = {
        module
        for module in imports(path)
        if module.startswith("realm_tf.") and room(module) != own
        if LEVELS.get(room(module), math.inf) >= LEVELS[own]
    }
    assert not wrong


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        name: set(imports(path))
        for path in SOURCES
        if path.name != "__init__.py"
        for name in [module_name(path)]
    }
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circles(graph) == []


def test_no_folder_is_crowded():
    for folder in {path.parent for path in SOURCES}:
        files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert len(files) <= MAX_FILES, folder


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(ROOT))
)
def test_source_keeps_the_rules_of_the_house(path):
    text = path.read_text("utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    folder = path.relative_to(ROOT).parts[0]
    statements = [
        node
        for node in nodes
        if isinstance(node, ast.stmt) and not is_bare_string(node)
    ]
    assert len(statements) <= MAX_STATEMENTS
    for forbidden in (r"^    +print\(", r"\btf\.keras\b", r"allow_pickle=True"):
        assert not re.search(forbidden, text, re.MULTILINE), forbidden
    assert "pickle" not in {m.split(".")[0] for m in imports(path)}
    if folder in ("layers", "losses"):
        assert "tensorflow" not in text.replace("bert-tensorflow", "")
    if folder != "cli":
        assert not [node for node in nodes if names_the_command_line(node)]


def is_bare_string(node):
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def names_the_command_line(node):
    """Whether a node is a string that could start a command of realm-tf."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"realm_tf\.cli\b|^realm-tf$", node.value) is not None
    )


CONSTANTS_ONLY = (
    "realm_tf._constants",
    "realm_tf._progress",
    "realm_tf._version",
)


@pytest.mark.parametrize(
    "name",
    [m for m in MODULES if not hasattr(importlib.import_module(m), "__path__")],
)
def test_every_module_has_its_tests(name):
    if name in CONSTANTS_ONLY:
        return
    *folders, module = name.split(".")[1:]
    test = TESTS.joinpath(*folders, f"test_{module.lstrip('_')}.py")
    assert test.is_file(), f"{test.relative_to(TESTS)} is missing"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    names = {"np": np, "keras": keras, "keras_hub": keras_hub}
    names |= {"tempfile": tempfile} | vars(module)
    result = doctest.testmod(
        module,
        extraglobs=names,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert not result.failed


def test_everything_imports_without_scann_and_model_garden():
    code = (
        "import sys, importlib\n"
        "sys.modules.update(dict.fromkeys(['scann', 'official', 'orbit']))\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_e3_legacy_keras_is_refused(monkeypatch):
    models = importlib.import_module("realm_tf.models")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "True")
    with pytest.raises(ImportError, match="Unset TF_USE_LEGACY_KERAS"):
        importlib.reload(models)


def test_package_imports_under_jax_without_tensorflow():
    code = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import realm_tf\n"
        "print(realm_tf.__version__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.strip() == realm_tf.__version__


def test_layers_and_losses_run_under_jax():
    pytest.importorskip("jax")
    modules = [m for m in MODULES if m.split(".")[1] in ("layers", "losses")]
    code = (
        "import importlib, keras, numpy as np\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "from realm_tf.losses import marginal_likelihood as losses\n"
        "log_probs = np.log([[[0.2], [0.6]]]).astype('float32')\n"
        "x = losses.marginal_log_likelihood([[0.0, 0.0]], log_probs)\n"
        "print(keras.backend.backend(), type(x).__module__, float(x[0, 0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    backend, module, value = done.stdout.split()
    assert backend == "jax"
    assert module.startswith("jax")
    # log(0.5 * 0.2 + 0.5 * 0.6)
    np.testing.assert_allclose(float(value), -0.916291, rtol=1e-6)
