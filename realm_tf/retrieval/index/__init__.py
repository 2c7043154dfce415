"""The index folder: versions, live updates, and the index over a corpus.

No search algorithm here. Start with `block_index.py`.
"""
