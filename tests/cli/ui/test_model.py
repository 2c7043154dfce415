import logging
import pathlib
import shutil

import click
import pytest

from realm_tf.cli.ui.model import open_model
from realm_tf.cli.ui.options import Settings
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.realm_qa import RealmQA


@pytest.fixture
def open_quietly():
    def open_it(preset, corpus=None, index=None, verify=False):
        with click.Context(click.Command("x"), obj=Settings(quiet=True)):
            return open_model(
                preset, corpus, index, dtype="float32", verify=verify
            )

    return open_it


@pytest.fixture
def no_building(monkeypatch):
    """Fails the test where an index is built."""

    def use():
        monkeypatch.setattr(RealmQA, "build_index", None)

    return use


@pytest.fixture
def other_corpus(featurizer, tmp_path):
    source = tmp_path / "other.txt"
    source.write_text("Bath is a city.")
    build_corpus(source, tmp_path / "other", featurizer)
    return tmp_path / "other"


def copied(preset, tmp_path):
    return shutil.copytree(preset, tmp_path / "preset")


def test_a_preset_with_its_own_corpus_answers_at_once(
    full_preset, no_building, open_quietly
):
    no_building()
    qa = open_quietly(full_preset)
    assert qa.require_index().path == full_preset / "index"


def test_an_equal_corpus_elsewhere_uses_the_own_index(
    corpus, full_preset, no_building, open_quietly
):
    no_building()
    qa = open_quietly(full_preset, corpus)
    assert qa.require_index().path == full_preset / "index"


def test_an_index_is_built_once_for_each_corpus(
    corpus, no_building, open_quietly, other_corpus, preset, tmp_path
):
    preset = copied(preset, tmp_path)
    for folder in (corpus, other_corpus):
        index = open_quietly(preset, folder).require_index()
        fingerprint = Corpus.open(folder).fingerprint
        assert index.path == preset / "indexes" / fingerprint[:16]
    no_building()
    for folder in (corpus, other_corpus):
        qa = open_quietly(preset, folder, verify=True)
        assert qa.require_index().corpus.path == folder


def test_kept_indexes_do_not_disturb_the_preset(
    caplog, corpus, open_quietly, preset, tmp_path
):
    preset = copied(preset, tmp_path)
    open_quietly(preset, corpus)
    with caplog.at_level(logging.WARNING):
        open_quietly(preset, corpus)
    assert not caplog.records  # nothing about files the manifest lacks


def test_a_preset_that_lost_its_index_gets_another(
    full_preset, open_quietly, tmp_path
):
    preset = copied(full_preset, tmp_path)
    shutil.rmtree(preset / "index")
    index = open_quietly(preset).require_index()
    assert index.path.parent == preset / "indexes"


def test_an_index_of_other_weights_is_built_again(
    corpus, open_quietly, preset, tiny_bert, tmp_path
):
    preset = copied(preset, tmp_path)
    first = open_quietly(preset, corpus).require_index()
    other = RealmQA.from_preset(tiny_bert, embedding_dim=8)
    other.save_to_preset(tmp_path / "other")
    shutil.copytree(preset / "indexes", tmp_path / "other" / "indexes")
    second = open_quietly(tmp_path / "other", corpus).require_index()
    assert (first.version, second.version) == (1, 2)
    assert second.embedding_dim == 8


def test_a_damaged_index_is_built_again(corpus, open_quietly, preset, tmp_path):
    preset = copied(preset, tmp_path)
    index = open_quietly(preset, corpus).require_index()
    next(index.folder.glob("embeddings*")).write_bytes(b"")
    assert open_quietly(preset, corpus).require_index().version == 2


def test_a_given_index_is_used_and_never_replaced(
    corpus, full_preset, open_quietly, other_corpus, preset
):
    index = full_preset / "index"
    assert open_quietly(preset, corpus, index).require_index().path == index
    with pytest.raises(ValueError, match="<- differs"):
        open_quietly(preset, other_corpus, index)


def test_a_preset_without_a_corpus_needs_one(open_quietly, preset):
    with pytest.raises(click.UsageError, match="--corpus must be given"):
        open_quietly(preset)


def test_a_preset_that_cannot_be_written_gets_a_temporary_index(
    caplog, corpus, monkeypatch, open_quietly, preset
):
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "mkdir", _read_only_below(preset))
        qa = open_quietly(preset, corpus)
    assert not qa.require_index().path.is_relative_to(preset)
    assert "cannot be kept" in caplog.text
    assert "Read-only file system" in caplog.text


def _read_only_below(folder):
    mkdir = pathlib.Path.mkdir

    def make(path, *args, **kwargs):
        if path.is_relative_to(folder):
            raise PermissionError(30, "Read-only file system")
        return mkdir(path, *args, **kwargs)

    return make
