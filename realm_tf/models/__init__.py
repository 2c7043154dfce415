"""Layers composed into what people train and ask.

No layer and no loss is defined here. Start with `realm_qa.py`.
"""
