"""REALM: retrieval-augmented language models for Keras 3 and TensorFlow.

Start with `RealmQA`. Layers, losses and `RealmPretrainer` work with Keras'
TensorFlow and JAX backends; what reads text or searches needs TensorFlow's.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
