"""Layers composed into what people train and ask.

No layer and no loss is defined here. Start with `question_answerer.py`.
"""

import os

_LEGACY = os.environ.get("TF_USE_LEGACY_KERAS", "")
if _LEGACY.lower() in ("1", "true"):
    # TensorFlow would call itself without end when keras_hub is imported.
    raise ImportError(
        "Models need Keras 3. Received: TF_USE_LEGACY_KERAS="
        f"{_LEGACY}, which asks for Keras 2. Unset TF_USE_LEGACY_KERAS."
    )
