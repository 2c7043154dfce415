"""Text: articles to blocks to a corpus folder, questions, and the featurizer.

No tensors are trained here and nothing is searched here.
Start with `featurizers.py` and `corpus.py`.
"""
