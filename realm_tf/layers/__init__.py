"""Trainable layers: tensors in, tensors out, with `keras.ops` only.

No text, no files and no search here. Start with `embedder.py`, then follow
`retriever.py` into `span_reader.py` (QA) or
`knowledge_augmented_encoder.py` (pre-training).
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
