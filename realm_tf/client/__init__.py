"""A client of the query service, without TensorFlow.

No model runs here. Start with `realm_client.py`.
"""
