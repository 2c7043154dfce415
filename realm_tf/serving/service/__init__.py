"""The query service: search beside the models, over HTTP.

No model is exported here. Start with `query_service.py`.
"""
