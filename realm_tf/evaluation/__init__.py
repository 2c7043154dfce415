"""Exact match, F1, recall, confidence, and the report over questions.

No model is built here: `open_qa.evaluate` takes any function that answers.
Start with `open_qa.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
