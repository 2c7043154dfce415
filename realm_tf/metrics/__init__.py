"""Metrics of training, as Keras metrics and functions of logits.

Reports over question sets are in `realm_tf.evaluation`.
Start with `open_qa_metrics.py`.
"""
