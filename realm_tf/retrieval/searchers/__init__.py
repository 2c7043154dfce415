"""Search over embeddings: the exact oracle and ScaNN.

No texts and no index folder here. Start with `searcher.py`.
"""
