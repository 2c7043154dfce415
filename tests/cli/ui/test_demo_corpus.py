import gzip

import click
import numpy as np
import pytest

from realm_tf.cli.ui.demo_corpus import open_demo
from realm_tf.cli.ui.options import Settings
from realm_tf.realm_qa import RealmQA


@pytest.fixture(autouse=True)
def settings():
    with click.Context(click.Command("x"), obj=Settings(quiet=True)):
        yield


def test_the_corpus_is_unpacked_once_and_not_embedded(
    articles_file, demo_data, monkeypatch, preset
):
    expected = RealmQA.from_preset(preset).build_index(articles_file)
    monkeypatch.setattr(RealmQA, "build_index", None)
    qa, folder = open_demo(demo_data, "float32")
    assert qa.index.corpus.fingerprint == expected.corpus.fingerprint
    assert qa.index.has_words
    ids = np.arange(4)
    np.testing.assert_allclose(
        qa.index.embeddings(ids), expected.embeddings(ids), atol=0.01
    )
    again, same = open_demo(demo_data, "float32")
    assert (same, again.index.fingerprint) == (folder, qa.index.fingerprint)


def test_embeddings_of_other_passages_are_refused(demo_data):
    other = gzip.compress(b'{"title": "A", "text": "A b."}\n')
    (demo_data / "articles.jsonl.gz").write_bytes(other)
    with pytest.raises(click.ClickException, match="where they are of others"):
        open_demo(demo_data, "float32")
    assert not list((demo_data.parent / "cache").iterdir())
