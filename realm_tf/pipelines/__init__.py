"""Apache Beam: corpora and embeddings on a cluster, over a shared folder.

What a part is, and how parts are joined, lives in `data` and `retrieval`. Start
with `corpus_pipeline.py`. Needs the extra `beam`.
"""

from realm_tf._door import open_door

__getattr__, __dir__, __all__ = open_door(__name__)
