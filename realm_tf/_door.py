"""The door of a package: public names, imported when they are first used.

TensorFlow takes seconds to import, and not everybody has it. A package lists
its names once, as imports in `__init__.pyi`: type checkers and editors read
them there, and so does `open_door`.
"""

import ast
import importlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any


def open_door(
    package: str,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: `__name__` of a package with an `__init__.pyi`.
    """
    module = sys.modules[package]
    homes = _read_homes(pathlib.Path(str(module.__file__)).with_suffix(".pyi"))
    names = sorted(homes)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        value = _import(package, homes[name], name)
        setattr(module, name, value)
        return value

    return get, lambda: names, names


def _read_homes(stub: pathlib.Path) -> dict[str, str]:
    """Name -> module that defines it, of the imports of a stub."""
    return {
        alias.name: str(node.module)
        for node in ast.parse(stub.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _import(package: str, home: str, name: str) -> Any:
    try:
        if home == package:  # a package inside
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if missing.startswith("realm_tf"):
            raise
        needed, install, extra = "TensorFlow and Keras", "Install them", "tf"
        if missing.startswith("apache_beam"):
            needed, install, extra = "Apache Beam", "Install it", "beam"
        raise ModuleNotFoundError(
            f"`{package}.{name}` needs {needed}. Received: {missing} is not "
            f"installed. {install} with `pip install 'realm-tf[{extra}]'`.",
            name=missing,
        ) from error
