"""ModelServerBackend: what gRPC and REST have in common."""

import copy
from collections.abc import Mapping

from realm_tf.serving.backends.backend import Backend
from realm_tf.serving.bundle import Bundle

PARALLEL_CALLS = 8
"""Calls of one model at once."""


class ModelServerBackend(Backend):
    """Asks TensorFlow Serving for the versions of one export.

    Without an export, for the newest version of each model.

    Attributes:
        pinned: name of a model -> version that is asked for.
    """

    def __init__(self) -> None:
        self.pinned: Mapping[str, int] = {}

    @property
    def num_parallel(self) -> int:
        return PARALLEL_CALLS

    def of_export(self, bundle: Bundle) -> "ModelServerBackend":
        other = copy.copy(self)  # of the same connections
        other.pinned = dict(bundle.models)
        return other
