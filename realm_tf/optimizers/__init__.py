"""BERT's optimizer, its learning-rate schedule, and float16 under a strategy.

No training loop here. Start with `bert_adamw.py`.
"""
