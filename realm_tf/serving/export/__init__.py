"""From a trained model to SavedModels and the files beside them.

Nothing answers here. Start with `exporter.py`.
"""
