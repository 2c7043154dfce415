"""A client of the query service, without TensorFlow.

No model runs here. Start with `realm_client.py`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
