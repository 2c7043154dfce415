"""Questions and answers as the ORQA code treats them.

Only published figures need it. Start with `official_featurizer.py`.
"""
