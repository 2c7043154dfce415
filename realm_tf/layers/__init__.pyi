from realm_tf.layers.embedder import Embedder as Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder as KnowledgeAugmentedEncoder,
)
from realm_tf.layers.retriever import Retriever as Retriever
from realm_tf.layers.span_reader import SpanReader as SpanReader
from realm_tf.layers.token_classifier import TokenClassifier as TokenClassifier
