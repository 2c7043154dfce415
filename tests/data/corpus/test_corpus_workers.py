import multiprocessing
import os

import pytest

from realm_tf.data.corpus.articles import SourceArticle
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_parts import PartTask
from realm_tf.data.corpus.corpus_workers import write_parts


def _die(article, tally):
    os._exit(9)


def test_processes_write_what_one_writes(articles, featurizer, tmp_path):
    def tasks(folder):
        folder.mkdir()
        for i, article in enumerate(articles):
            source = SourceArticle(article, "file", i)
            yield PartTask(folder / f"{i:02}.npz", [source])

    one = list(write_parts(tasks(tmp_path / "1"), featurizer, 32, 1))
    two = list(write_parts(tasks(tmp_path / "2"), featurizer, 32, 2))
    assert sorted(one) == sorted(two)
    assert len(one) == len(articles)
    for path in sorted((tmp_path / "1").iterdir()):
        twin = tmp_path / "2" / path.name
        assert path.read_bytes() == twin.read_bytes()
    assert multiprocessing.active_children() == []


def test_death_of_a_process_is_reported(featurizer, tmp_path):
    source = SourceArticle(Article("1", "", "Text."), "file", 1, _die)
    task = PartTask(tmp_path / "part.npz", [source])
    with pytest.raises(RuntimeError, match="One of 2 worker.*fewer processes"):
        list(write_parts([task], featurizer, 32, 2))
    assert multiprocessing.active_children() == []
