"""REALM: retrieval-augmented language models for Keras 3 and TensorFlow."""

from realm_tf._version import __version__ as __version__
