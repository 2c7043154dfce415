"""Text: articles to blocks to a corpus folder, questions, and the featurizer.

No tensors are trained here and nothing is searched here.
Start with `featurizers.py` and `corpus.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
