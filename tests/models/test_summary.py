import types

import keras_hub
import pytest

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.evaluation.calibration import Calibration
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.models.summary import describe
from realm_tf.realm_qa import RealmQA

# Vocabulary 1,895 x 4, positions 48 x 4, segments 2 x 4, layer norm 8; two
# layers of attention 4 x 20, feed-forward 76 and norms 16; pooler 20.
TRUNK = 1895 * 4 + 192 + 8 + 8 + 2 * (80 + 76 + 16) + 20
EMBEDDER = TRUNK + (4 * 3 + 3) + 6  # projection, layer norm
READER = TRUNK + (4 * 10 + 10) + 10 + (5 + 1)


@pytest.fixture
def make_own_qa(featurizer):
    def make_trunk():
        return keras_hub.models.BertBackbone(
            vocabulary_size=featurizer.vocabulary_size,
            num_layers=2,
            num_heads=2,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=48,
        )

    def make(shared):
        embedder = Embedder(make_trunk(), embedding_dim=3)
        query = embedder if shared else Embedder(make_trunk(), embedding_dim=3)
        reader = SpanReader(make_trunk(), max_span_width=2, span_hidden_dim=5)
        small = Featurizer(
            featurizer.vocabulary,
            query_length=8,
            block_length=16,
            joint_length=48,
        )
        return RealmQA(small, query, embedder, reader, num_read=7)

    return make


def test_describe_shared_embedders(make_own_qa):
    assert describe(make_own_qa(shared=True)).splitlines() == [
        "backbones: 2 layers, 4 wide, vocabulary 1,895",
        "embedder: cls pooling, 3 wide, questions and blocks share weights",
        "reader: spans up to 2 wordpieces, 7 blocks read",
        f"parameters: {EMBEDDER + READER:,}",
    ]


def test_describe_separate_embedders(make_own_qa):
    lines = describe(make_own_qa(shared=False)).splitlines()
    assert lines[1].endswith("questions and blocks have their own weights")
    assert lines[3] == f"parameters: {2 * EMBEDDER + READER:,}"


def test_describe_the_weight_of_words(make_own_qa):
    qa = make_own_qa(shared=True)
    qa.lexical_weight = 0.8
    assert describe(qa).splitlines()[-1] == "search: words with the weight 0.80"


def test_describe_a_calibration(make_own_qa):
    qa = make_own_qa(shared=True)
    qa.calibration = Calibration(temperature=1.5, threshold=0.25)
    last = describe(qa).splitlines()[-1]
    assert last == "answers: temperature 1.50, threshold 0.25"


@pytest.mark.parametrize(
    ("is_exact", "search"), [(True, "exact"), (False, "ScaNN")]
)
def test_describe_an_index(make_own_qa, is_exact, search):
    qa = make_own_qa(shared=True)
    qa.index = types.SimpleNamespace(
        num_blocks=13_353_718, version=4, is_exact=is_exact
    )
    last = describe(qa).splitlines()[-1]
    assert last == f"index: 13,353,718 blocks, version 4, {search}"
