from realm_tf import checkpoints as checkpoints
from realm_tf import client as client
from realm_tf import data as data
from realm_tf import errors as errors
from realm_tf import evaluation as evaluation
from realm_tf import layers as layers
from realm_tf import losses as losses
from realm_tf import metrics as metrics
from realm_tf import models as models
from realm_tf import optimizers as optimizers
from realm_tf import options as options
from realm_tf import pipelines as pipelines
from realm_tf import retrieval as retrieval
from realm_tf import training as training
from realm_tf._version import __version__ as __version__
from realm_tf.client.realm_client import RealmClient as RealmClient
from realm_tf.data.corpus.answer import Answer as Answer
from realm_tf.data.corpus.corpus import Corpus as Corpus
from realm_tf.data.questions.questions import Question as Question
from realm_tf.layers.embedder import Embedder as Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder as KnowledgeAugmentedEncoder,
)
from realm_tf.layers.retriever import Retriever as Retriever
from realm_tf.layers.span_reader import SpanReader as SpanReader
from realm_tf.models.realm_pretrainer import RealmPretrainer as RealmPretrainer
from realm_tf.realm_qa import RealmQA as RealmQA
from realm_tf.retrieval.index.block_index import BlockIndex as BlockIndex
from realm_tf.serving.backends.model_server_client import (
    ModelServerClient as ModelServerClient,
)
