import keras_hub
import numpy as np
import pytest

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.layers.embedder import Embedder


@pytest.fixture(scope="session")
def make_featurizer():
    def make(vocabulary, **options):
        lengths = {"query_length": 12, "block_length": 40, "joint_length": 64}
        return Featurizer(vocabulary, **{**lengths, **options})

    return make


@pytest.fixture(scope="session")
def small_featurizer(featurizer, make_featurizer):
    return make_featurizer(featurizer.vocabulary)


@pytest.fixture(scope="session")
def make_embedder(featurizer):
    def make(trunk_dropout=0.0, dtype="float32", num_heads=2, **options):
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=featurizer.vocabulary_size,
            num_layers=1,
            num_heads=num_heads,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=40,
            dropout=trunk_dropout,
            dtype=dtype,
        )
        embedder = Embedder(backbone, **{"embedding_dim": 3, **options})
        embedder.build(None)
        rng = np.random.default_rng(0)
        for weight in embedder.weights:
            if len(weight.shape) > 1:  # larger than they start, to tell texts
                weight.assign(rng.normal(0, 0.5, weight.shape))
        return embedder

    return make
