"""TensorFlow Text, or an error that says how to install it."""

import tensorflow as tf

try:
    import tensorflow_text as tf_text
except Exception as error:  # a library of another release raises other errors
    raise ImportError(
        "Texts are read with TensorFlow Text, in the release of TensorFlow. "
        "Install both with `pip install 'tensorflow~=2.20.0' "
        "'tensorflow-text~=2.20.1'` (there is none for Windows). Received: "
        f"TensorFlow {tf.__version__}, {type(error).__name__}: {error}"
    ) from error

__all__ = ["tf_text"]
