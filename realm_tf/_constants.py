"""Constants that more than one module shares.

Lengths are in wordpieces, with the special tokens counted.
"""

MISSING_BLOCK_ID = -1
"""Block id of a search result that does not exist."""

NULL_BLOCK_POSITION = 0
"""Position of the null block among the candidates in pre-training."""

EMBEDDING_DIM = 128
"""Width of the released embeddings (Lee et al., 2019)."""

COSINE_SCALE = 20.0
"""Inverse temperature of sentence-transformers' cosine loss."""

QUERY_LENGTH = 64
"""Question length of the released retriever (flag of the ORQA code)."""

BLOCK_LENGTH = 288
"""Block length of the released corpus (flag of the ORQA code)."""

JOINT_LENGTH = 320
"""Question and block together: 288 + 32 (flag of the ORQA code)."""

MASKED_LOGIT = -1e9
"""Logit of what cannot be chosen; exp() of it is 0 in float32, and sums stay
finite."""

MASKS = ("salient", "recurring", "random-tokens", "random-spans")
"""Kinds of masks; see `realm_tf.data.spans.sentence_masks.make_masks`."""

SEARCHERS = ("auto", "brute_force", "scann")
"""Searchers of an index; "auto" is exact below 50,000 blocks."""

STORAGES = ("float32", "bfloat16")
"""Types in which embeddings are stored."""

MODEL_NAMES = (
    "realm_query_embedder",
    "realm_block_embedder",
    "realm_reader",
    "realm_qa",
    "realm_scann_qa",
)
"""Models that an export may hold; a query service needs the first three."""

MASKED_WORDS_LEARNING_RATE = 3e-5
"""Peak learning rate of masked-word pre-training (Guu et al., 2020)."""
