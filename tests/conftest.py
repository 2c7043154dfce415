"""What every test relies on: two devices, fixed seeds, a small vocabulary."""

import contextlib
import importlib.util
import json
import os
import pathlib
import random
import shutil

# Read once, when TensorFlow and Keras are imported; children inherit them.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.realm_qa import RealmQA

pytest_plugins = ("qa_fixtures", "serving_fixtures")

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
_SEED = 2020
HAS_SCANN = importlib.util.find_spec("scann") is not None


def pytest_configure() -> None:
    # Before the first operation starts TensorFlow: MirroredStrategy then has
    # two replicas on every machine.
    cpus = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpus[0], two)
    keras.utils.set_random_seed(_SEED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():  # a fixture raises for each test that asks it
    with _skip_without_scann():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    with _skip_without_scann():
        return (yield)


@contextlib.contextmanager
def _skip_without_scann():
    """Skips a test that needs ScaNN where it is not installed."""
    try:
        yield
    except ImportError as error:
        if HAS_SCANN or "needs ScaNN" not in str(error):
            raise
        pytest.skip("needs ScaNN")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """The same seeds of Python and NumPy, and so of Keras, before every test.

    Not of TensorFlow: to set that drops all that it has compiled, and the next
    test would wait until the models of the session are compiled once more.
    """
    random.seed(_SEED)
    np.random.seed(_SEED)


@pytest.fixture(scope="session")
def strategy():
    """Two replicas. One strategy serves all tests of a process."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def featurizer() -> Featurizer:
    """Uncased BERT with 1,895 of its 30,522 wordpieces."""
    return Featurizer.from_file(FIXTURES / "vocab_small.txt")


@pytest.fixture(scope="session")
def short_featurizer() -> Featurizer:
    """As `featurizer`, with lengths that keep tests fast."""
    return Featurizer.from_file(
        FIXTURES / "vocab_small.txt",
        query_length=16,
        block_length=48,
        joint_length=80,
    )


@pytest.fixture(scope="session")
def make_qa(short_featurizer):
    """Builds a `RealmQA` of 2 layers and 2 heads with random weights."""

    def make(
        featurizer=short_featurizer,
        *,
        seed=0,
        width=4,
        dropout=0.0,
        dtype=None,
        pooling="cls",
        separate=False,
        **reader_options,
    ) -> RealmQA:
        def trunk():
            return keras_hub.models.BertBackbone(
                vocabulary_size=featurizer.vocabulary_size,
                num_layers=2,
                num_heads=2,
                hidden_dim=width,
                intermediate_dim=2 * width,
                max_sequence_length=80,
                dropout=dropout,
                dtype=dtype,
            )

        embedder = Embedder(
            trunk(), embedding_dim=width, pooling=pooling, dropout=dropout
        )
        reader = SpanReader(trunk(), span_hidden_dim=8, **reader_options)
        qa = RealmQA(featurizer, embedder, embedder, reader)
        rng = np.random.default_rng(seed)
        for weight in [*embedder.weights, *reader.weights]:
            # With the initial 0.02 all texts would be alike.
            if weight.path.endswith(("kernel", "embeddings")):
                weight.assign(rng.normal(0, 0.5, weight.shape))
        if separate:
            qa.separate_embedders()
            for weight in qa.query_embedder.weights:
                weight.assign_add(rng.normal(0, 0.1, weight.shape))
        return qa

    return make


CITIES = (
    ("Paris", "France", "1163"),
    ("London", "England", "1215"),
    ("Rome", "Italy", "1506"),
    ("Berlin", "Germany", "1710"),
    ("Madrid", "Spain", "1634"),
    ("Oslo", "Norway", "1811"),
    ("Vienna", "Austria", "1365"),
    ("Prague", "Bohemia", "1348"),
    ("Dublin", "Ireland", "1592"),
    ("Athens", "Greece", "1837"),
)


@pytest.fixture(scope="session")
def cities() -> list[Article]:
    """Ten articles of one block each, and one of several."""
    articles = [
        Article(
            name.lower(),
            name,
            f"{name} is a city in {country}. Its school was founded in the "
            f"year {year}. Many people live there.",
        )
        for name, country, year in CITIES
    ]
    sentences = [
        f"In the year {year} people from {country} were in {name}."
        for name, country, year in CITIES
    ]
    return [*articles, Article("travel", "Travel", " ".join(sentences))]


@pytest.fixture(scope="session")
def city_corpus(cities, short_featurizer, tmp_path_factory) -> Corpus:
    """The corpus of `cities`, for reading only."""
    return build_corpus(
        cities,
        tmp_path_factory.mktemp("cities") / "corpus",
        short_featurizer,
        max_wordpieces=short_featurizer.block_length,
    )


@pytest.fixture(scope="session")
def city_questions(cities) -> list[Question]:
    """Three questions on each city; passage and place of the answer marked."""
    questions = []
    for (name, country, year), article in zip(CITIES, cities, strict=False):
        for number, (text, answer) in enumerate(
            (
                (f"When was the school of {name} founded?", year),
                (f"In which year was {name}'s school founded?", year),
                (f"In which country is {name}?", country),
            )
        ):
            questions.append(
                Question(
                    f"{article.document_id}-{number}",
                    text,
                    (answer,),
                    passage_id=article.document_id,
                    answer_starts=(article.text.index(answer),),
                )
            )
    return questions


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> pathlib.Path:
    """A BERT folder in the Hugging Face layout: 2 layers, width 4."""
    vocabulary = FIXTURES / "vocab_small.txt"
    config = {
        "model_type": "bert",
        "vocab_size": len(vocabulary.read_text("utf-8").splitlines()),
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 4,
        "intermediate_size": 8,
        "max_position_embeddings": 512,
    }
    folder = tmp_path_factory.mktemp("tiny_bert")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(vocabulary, folder / "vocab.txt")
    rng = np.random.default_rng(2020)
    weights = {
        name: rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in _bert_shapes(config["vocab_size"]).items()
    }
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    return folder


def _bert_shapes(vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary_size, 4),
        "embeddings.position_embeddings.weight": (512, 4),
        "embeddings.token_type_embeddings.weight": (2, 4),
        "embeddings.LayerNorm.weight": (4,),
        "embeddings.LayerNorm.bias": (4,),
        "pooler.dense.weight": (4, 4),
        "pooler.dense.bias": (4,),
    }
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{layer}.attention.{part}.weight"] = (4, 4)
            shapes[f"{layer}.attention.{part}.bias"] = (4,)
        for part, size in (("intermediate", (8, 4)), ("output", (4, 8))):
            shapes[f"{layer}.{part}.dense.weight"] = size
            shapes[f"{layer}.{part}.dense.bias"] = size[:1]
        for part in ("attention.output", "output"):
            shapes[f"{layer}.{part}.LayerNorm.weight"] = (4,)
            shapes[f"{layer}.{part}.LayerNorm.bias"] = (4,)
    return shapes
