"""BERT's optimizer, its learning-rate schedule, and float16 under a strategy.

No training loop here. Start with `bert_adamw.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
