"""Losses as functions of logits, in nats, float32 under every dtype policy.

No layers and no weights here. Start with `marginal_likelihood.py` for
pre-training and `open_qa.py` for question answering.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
