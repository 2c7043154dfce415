"""Metrics of training, as Keras metrics and functions of logits.

Reports over question sets are in `realm_tf.evaluation`.
Start with `open_qa_metrics.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
