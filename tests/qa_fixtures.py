"""Fixtures of a model with an index."""

import contextlib

import pytest

from realm_tf.checkpoints import named_presets


@pytest.fixture(scope="session")
def qa(make_qa, city_corpus, tmp_path_factory):
    """A model with the index of the cities; what changes it, changes it back.

    One for the session, because tracing takes longer than answering.
    """
    qa = make_qa(separate=True)
    qa.build_index(city_corpus, tmp_path_factory.mktemp("qa") / "index")
    return qa


@pytest.fixture
def own_index(qa, city_corpus, tmp_path):
    """The same model with an index of the test's own, to be changed."""
    with keep_index(qa):
        qa.build_index(city_corpus, tmp_path / "index")
        yield qa


@contextlib.contextmanager
def keep_index(qa):
    before = qa.index, qa.lexical_weight
    try:
        yield
    finally:
        qa.index, qa.lexical_weight = before


@pytest.fixture
def any_index(qa):
    """The same model; the test may give it another index."""
    with keep_index(qa):
        yield qa


@pytest.fixture
def registry():
    """Presets that the test registers have their names until it ends."""
    before = dict(named_presets.PRESETS)
    yield
    named_presets._REGISTERED.clear()
    named_presets._REGISTERED.update(before)
