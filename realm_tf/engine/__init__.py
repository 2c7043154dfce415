"""Text in, embeddings and answers with offsets out.

No search and no training here. Start with `engine.py`.
"""
