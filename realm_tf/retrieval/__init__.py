"""Search over block embeddings, and the index folder that holds them.

No model and no text processing: embeddings come in, block ids come out.
Start with `block_index.py`; `brute_force_searcher.py` is the exact oracle.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
