"""REALM: retrieval-augmented language models for Keras 3 and TensorFlow.

Start with `RealmQA`. Layers, losses and `RealmPretrainer` work with Keras'
TensorFlow and JAX backends; what reads text or searches needs TensorFlow's.
"""

import importlib
from typing import TYPE_CHECKING, Any

from realm_tf._version import __version__ as __version__

if TYPE_CHECKING:
    from realm_tf.client.realm_client import RealmClient as RealmClient
    from realm_tf.data.corpus.answer import Answer as Answer
    from realm_tf.realm_qa import RealmQA as RealmQA
    from realm_tf.serving.backends.model_server_client import (
        ModelServerClient as ModelServerClient,
    )

_HOMES = {
    "Answer": "realm_tf.data.corpus.answer",
    "ModelServerClient": "realm_tf.serving.backends.model_server_client",
    "RealmClient": "realm_tf.client.realm_client",
    "RealmQA": "realm_tf.realm_qa",
}

__all__ = [
    "Answer",
    "ModelServerClient",
    "RealmClient",
    "RealmQA",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: TensorFlow takes seconds, and layers and losses
    # must not need it.
    if name not in _HOMES:
        raise AttributeError(f"module 'realm_tf' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
