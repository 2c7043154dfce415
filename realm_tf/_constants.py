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

COSINE_LEXICAL_WEIGHT = 0.8
"""Weight of BM25 beside 20 times a cosine, before training: on 1,600 training
questions all-MiniLM-L6-v2 found the own passage among the first five for .953
with it, for .833 without, and for .921 by BM25 alone; 0.6 to 1.0 are alike."""

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

ANALYZERS = (
    "plain",
    "arabic",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hungarian",
    "italian",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
)
"""Word analyzers of the lexical search: "plain", or a language to stem."""

STORAGES = ("float32", "bfloat16")
"""Types in which embeddings are stored."""

WEIGHT_STORAGES = ("float32", "int8")
"""Types in which a preset stores weights."""

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
