"""Tells Keras of every serialisable class, without importing any of them.

Keras reads a class of a `.keras` file only if it is registered, and ours are
registered when their module is imported. So Keras gets stand-ins that import
the class when a file needs it.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

_CLASSES = {
    "layers": (
        "Embedder",
        "KnowledgeAugmentedEncoder",
        "Retriever",
        "SpanReader",
        "TokenClassifier",
    ),
    "losses": ("InBatchLoss", "MarginalLoss"),
    "metrics": ("AnswerRecallAtK",),
    "models": (
        "DualEncoder",
        "InverseClozePretrainer",
        "OpenQA",
        "RealmPretrainer",
    ),
    "optimizers": (
        "BertAdamW",
        "SyncedLossScaleOptimizer",
        "WarmupLinearDecay",
    ),
}
_FUNCTIONS = {"metrics": ("exact_match", "reader_oracle")}


def register() -> None:
    """Registers now, or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras where the other finders do, and registers once it is there.

    Importing Keras here would take seconds, and need TensorFlow.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> Any:
        if fullname != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _register(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for kinds, stand_in in ((_CLASSES, _StandIn), (_FUNCTIONS, _stand_in)):
        for room, names in kinds.items():
            for name in names:
                # One that is imported already keeps its place.
                known.setdefault(f"realm_tf>{name}", stand_in(room, name))


def _load(room: str, name: str) -> Any:
    return getattr(importlib.import_module(f"realm_tf.{room}"), name)


class _StandIn:
    """A class that is imported when Keras makes an object of it."""

    def __init__(self, room: str, name: str):
        self.room = room
        self.name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        return _load(self.room, self.name).from_config(config)


def _stand_in(room: str, name: str) -> Callable[[Any, Any], Any]:
    """A metric that is imported when it is used."""

    def metric(y_true: Any, y_pred: Any) -> Any:
        return _load(room, name)(y_true, y_pred)

    metric.__name__ = name
    return metric
