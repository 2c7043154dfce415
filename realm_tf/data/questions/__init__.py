"""Questions: reading them, published sets, and where their answers stand.

No model answers them here. Start with `questions.py`.
"""
