"""Weights and presets on disk, read into models and written from them.

No training and no search here. Start with `presets.py`.
"""
