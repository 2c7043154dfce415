"""Text to numbers and back: the featurizer, sentences, normalised answers.

No files of a corpus here. Start with `featurizer.py`.
"""
