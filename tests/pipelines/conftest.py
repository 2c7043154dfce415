import pathlib

import pytest
from beam_shards import write_shards

from realm_tf.data.corpus import corpus_parts
from realm_tf.pipelines import corpus_pipeline
from realm_tf.realm_qa import RealmQA


@pytest.fixture
def shards(cities, tmp_path):
    """A folder of three files, with eleven articles and three bad records."""
    return write_shards(tmp_path / "shards", "part-{}.jsonl", cities)


@pytest.fixture
def many_parts(monkeypatch):
    """Every file is a shard, every second article ends a part."""
    monkeypatch.setattr(corpus_pipeline, "_SHARD_BYTES", 1)
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 150)


@pytest.fixture(scope="session")
def preset(tiny_bert, tmp_path_factory) -> pathlib.Path:
    """A model without a corpus, for reading only."""
    path = tmp_path_factory.mktemp("preset") / "preset"
    RealmQA.from_preset(tiny_bert, embedding_dim=4).save_to_preset(path)
    return path
