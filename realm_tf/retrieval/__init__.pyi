from realm_tf.retrieval.index.block_index import BlockIndex as BlockIndex
from realm_tf.retrieval.index.index_plan import IndexPlan as IndexPlan
from realm_tf.retrieval.searchers.brute_force_searcher import (
    BruteForceSearcher as BruteForceSearcher,
)
from realm_tf.retrieval.searchers.embedding_writer import (
    EmbeddingWriter as EmbeddingWriter,
)
from realm_tf.retrieval.searchers.scann_searcher import (
    ScannSearcher as ScannSearcher,
)
from realm_tf.retrieval.searchers.searcher import SearchResult as SearchResult
from realm_tf.retrieval.searchers.searcher_recall import (
    searcher_recall_at_k as searcher_recall_at_k,
)
