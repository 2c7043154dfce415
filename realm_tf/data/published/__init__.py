"""Readers of published corpora, blocks and spans; nothing is unpickled.

Formats of our own are elsewhere. Start with `published_corpus.py`.
"""
