"""Training: optimizers, metrics, input stages with retrieval, fine-tuning.

Models and losses are defined elsewhere. Start with `finetuning.py`.
"""
