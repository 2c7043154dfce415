"""Ten towns of one block each, questions about them, and a model."""

import shutil

import numpy as np
import pytest

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.refresher import Refresher

NAMES = (
    "paris london rome berlin madrid oslo vienna prague dublin athens".split()
)


@pytest.fixture(scope="session")
def town_corpus(tmp_path_factory, short_featurizer):
    """Ten articles of one block, each with a year of its own."""
    articles = [
        Article(
            str(i),
            name,
            f"{name} is a city. It was founded in the year {1000 + i}. "
            "Many people live there.",
        )
        for i, name in enumerate(NAMES)
    ]
    path = tmp_path_factory.mktemp("towns") / "corpus"
    return build_corpus(articles, path, short_featurizer)


@pytest.fixture(scope="session")
def town_questions(town_corpus):
    """A question for each block, in order, its answer marked."""
    return [
        Question(
            str(i),
            f"when was {name} founded?",
            (str(1000 + i),),
            passage_id=str(i),
            answer_starts=(town_corpus[i].text.index(str(1000 + i)),),
        )
        for i, name in enumerate(NAMES)
    ]


@pytest.fixture(scope="session")
def indexed_qa(make_qa, town_corpus, tmp_path_factory):
    """An untrained model with an index. Tests leave it as it is."""
    qa = make_qa(width=8)
    qa.build_index(town_corpus, tmp_path_factory.mktemp("index") / "index")
    return qa


@pytest.fixture(scope="session")
def exchange_template(make_qa, town_corpus, tmp_path_factory):
    """The folder of a training that has begun, its model, a spare embedder.

    Made once, because making a model takes longer than most tests.
    """
    qa = make_qa(width=8)
    template = Exchange(tmp_path_factory.mktemp("exchange") / "exchange")
    template.begin(qa, town_corpus)
    return template, qa, copy_layer(qa.query_embedder)


@pytest.fixture
def exchange(exchange_template, tmp_path):
    """The folder of a training that has begun, and its model."""
    template, qa, _ = exchange_template
    shutil.copytree(template.path, tmp_path / "exchange")
    exchange = Exchange(tmp_path / "exchange")
    exchange.qa = qa
    return exchange


@pytest.fixture
def refresher(exchange, exchange_template, town_corpus):
    """A refresher of `exchange`, with an embedder of its own."""
    _, qa, embedder = exchange_template
    return Refresher(exchange, town_corpus, qa.featurizer, embedder, embedder)


@pytest.fixture
def snapshot(exchange):
    """Writes a snapshot of weights that tell the step; returns the embedder."""

    def write(step):
        embedder = exchange.qa.query_embedder
        rng = np.random.default_rng(step)
        kernel = embedder.projection.kernel
        kernel.assign(rng.normal(0, 0.5, kernel.shape))
        exchange.write_snapshot(step, embedder, embedder)
        return embedder

    return write
