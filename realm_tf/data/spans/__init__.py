"""Salient spans and entities, and the masks that are drawn from them.

No tagger is trained here. Start with `salient_spans.py`.
"""
