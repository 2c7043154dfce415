"""Training: optimizers, metrics, input stages with retrieval, fine-tuning.

Models and losses are defined elsewhere. Start with `finetuning.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
