"""Weights and presets on disk, read into models and written from them.

No training and no search here. Start with `load`, in `loading.py`, for
checkpoints of others, and with `presets.py` for our own.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
