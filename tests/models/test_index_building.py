import gc
import pathlib
import tempfile

import numpy as np
import pytest

from realm_tf.models.index_building import build_block_index, open_corpus


@pytest.fixture
def build(short_featurizer, tmp_path, monkeypatch):
    """Builds an index of two cities; temporary folders are in `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def build(path=None, **options):
        return build_block_index(
            ["Lima is a city.", "Nice too."],
            path,
            short_featurizer,
            lambda corpus: (np.ones((corpus.num_blocks, 4)), "ones"),
            **options,
        )

    return build


def test_corpus_of_articles_lies_in_the_index(build, tmp_path):
    index = build(tmp_path / "index")
    assert index.path == tmp_path / "index"
    assert index.corpus.path == tmp_path / "index" / "corpus"
    assert index.embedder_fingerprint == "ones"
    del index
    gc.collect()
    assert (tmp_path / "index").is_dir()


def test_temporary_index_is_removed_with_the_last_reference(build, tmp_path):
    index = build()
    folder = pathlib.Path(index.path)
    assert folder.is_dir() and folder.parent == tmp_path
    del index
    gc.collect()
    assert not folder.exists()


def test_temporary_index_is_removed_if_building_fails(build, tmp_path):
    with pytest.raises(ValueError, match="searcher"):
        build(searcher="nonsense")
    assert not list(tmp_path.glob("realm_tf-*"))


def test_a_failure_keeps_the_index_that_answers(any_index):
    before = any_index.index
    with pytest.raises(ValueError, match="searcher"):
        any_index.build_index(["Nice is a city."], searcher="nonsense")
    assert any_index.index is before
    assert any_index.ask("what?").blocks


def test_temporary_corpus_lives_as_long_as_it_is_used(
    build, short_featurizer, tmp_path
):
    corpus = build().corpus  # the index itself is gone
    index = build_block_index(
        corpus,
        tmp_path / "index",
        short_featurizer,
        lambda corpus: (np.ones((corpus.num_blocks, 4)), "ones"),
    )
    folder = corpus.path.parent
    del corpus
    gc.collect()
    assert index.corpus[0].text == "Lima is a city."
    assert folder.is_dir()
    del index
    gc.collect()
    assert not folder.exists()


def test_corpus_that_is_given_stays(city_corpus, short_featurizer):
    assert open_corpus(city_corpus, None, short_featurizer) is city_corpus
