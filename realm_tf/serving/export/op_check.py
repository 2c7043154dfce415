"""Which operations an exported model needs, and which servers have them.

allowed_ops.txt lists what TensorFlow 2.20 and TensorFlow Text 2.20 register,
without what calls Python: the operations of a stock TensorFlow Serving 2.20.
"""

import functools
import importlib.resources
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from realm_tf.errors import ExportError, FolderError

SAVED_MODEL_NAME = "saved_model.pb"
MAX_GRAPH_BYTES = 50 * 2**20
SCANN_PREFIX = "Scann>"
_LIST_NAME = "allowed_ops.txt"
_XLA_ATTRIBUTE = "_XlaMustCompile"


@functools.cache
def allowed_ops() -> frozenset[str]:
    """Names of the operations of stock servers."""
    file = importlib.resources.files("realm_tf.serving.export") / _LIST_NAME
    return frozenset(file.read_text(encoding="utf-8").split())


def list_ops(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the operations of a SavedModel, sorted.

    Args:
        folder: with `saved_model.pb`.
    """
    functions, nodes = set(), set()
    for graph in _graphs(folder):
        functions |= {f.signature.name for f in graph.library.function}
        nodes |= {node.op for node in _nodes(graph)}
    return sorted(nodes - functions)


def needs_xla(folder: str | os.PathLike[str]) -> bool:
    """Whether some part of a SavedModel insists on XLA."""
    return any(
        holder.attr[_XLA_ATTRIBUTE].b
        for graph in _graphs(folder)
        for holder in (*_nodes(graph), *graph.library.function)
        if _XLA_ATTRIBUTE in holder.attr
    )


def check_saved_model(
    folder: str | os.PathLike[str], *, allow_scann: bool = False
) -> list[str]:
    """Checks that a server can run a SavedModel.

    Args:
        folder: with `saved_model.pb`.
        allow_scann: let ScaNN's operations pass.

    Returns:
        names of its operations, sorted.

    Raises:
        ExportError: if an operation is not allowed, or the graph is so large
            that vectors must have become constants.
    """
    size = (pathlib.Path(folder) / SAVED_MODEL_NAME).stat().st_size
    if size > MAX_GRAPH_BYTES:
        raise ExportError(
            f"{SAVED_MODEL_NAME} must be at most {MAX_GRAPH_BYTES} bytes. "
            f"Received: {size} bytes in {folder}. Hold vectors in variables, "
            "not in constants."
        )
    ops = list_ops(folder)
    others = sorted(set(ops) - allowed_ops())
    if allow_scann:
        others = [op for op in others if not op.startswith(SCANN_PREFIX)]
    if others:
        raise ExportError(
            "An export must hold operations of TensorFlow 2.20 and TensorFlow "
            f"Text 2.20 only. Received: {', '.join(others)} in {folder}. A "
            "stock server would answer 'Op type not registered'."
        )
    return ops


def _graphs(folder: str | os.PathLike[str]) -> Iterator[Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    file = pathlib.Path(folder) / SAVED_MODEL_NAME
    if not file.is_file():
        raise FolderError(
            f"A SavedModel must hold {SAVED_MODEL_NAME}. Received: {folder}, "
            "which has none. Check the path."
        )
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString(file.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        yield meta_graph.graph_def


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
