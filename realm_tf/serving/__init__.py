"""Serving: exports of trained models, and the query service.

No training and no Keras model is built here; an exporter is given one. Start
with `exporter.py`; `bundle.py` describes the folder that comes out.
"""
