"""Trainable layers: tensors in, tensors out, with `keras.ops` only.

No text, no files and no search here. Start with `embedder.py`, then follow
`retriever.py` into `span_reader.py` (QA) or
`knowledge_augmented_encoder.py` (pre-training).
"""
