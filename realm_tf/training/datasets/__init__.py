"""Input stages of training, with retrieval in them.

No model is built here. Start with `retriever_dataset.py`.
"""
