"""Layers composed into what people train and ask.

No layer and no loss is defined here. Start with `question_answerer.py`.
"""

import os

from realm_tf._door import open_door

_LEGACY = os.environ.get("TF_USE_LEGACY_KERAS", "")
if _LEGACY.lower() in ("1", "true"):
    # TensorFlow would call itself without end when keras_hub is imported.
    raise ImportError(
        "Models need Keras 3. Received: TF_USE_LEGACY_KERAS="
        f"{_LEGACY}, which asks for Keras 2. Unset TF_USE_LEGACY_KERAS."
    )

__getattr__, __dir__, __all__ = open_door(__name__)
