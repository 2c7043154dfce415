import numpy as np
import pytest

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.engine import text_embedder
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.training.refresh.shared_embedding import SharedEmbedding


@pytest.fixture
def make(make_qa, town_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(text_embedder, "_CHUNK", 3)  # so there are four
    qa = make_qa(width=8)

    def make_worker(worker, num_workers=2):
        embedder = copy_layer(qa.block_embedder)
        if worker:  # it reads the weights of the first
            embedder.projection.kernel.assign_add(
                np.ones(embedder.projection.kernel.shape)
            )
        return SharedEmbedding(
            tmp_path / "parts",
            town_corpus,
            TextEmbedder(embedder, qa.featurizer),
            worker,
            num_workers,
        )

    return make_worker


def record(shared, seen, before=lambda: None):
    """Notes the chunks that a worker embeds."""
    embed = shared._embed

    def embed_and_note(folder, i):
        before()
        seen.append(i)
        embed(folder, i)

    shared._embed = embed_and_note


def test_workers_share_the_chunks(make, town_corpus):
    first, second = make(0), make(1)
    assert second.help() is None
    embedded = {0: [], 1: []}
    steps = []
    record(second, embedded[1])
    record(first, embedded[0], lambda: steps.append(second.help()))
    found = np.concatenate(list(first.embed(5)))
    assert embedded == {0: [0, 2], 1: [1, 3]}
    assert steps == [5, None]
    expected = np.concatenate(list(first.embedder.corpus(town_corpus)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not list(first.path.iterdir())
    assert second.help() is None


def test_the_first_does_what_others_leave(make, town_corpus):
    first = make(0, 3)
    embedded = []
    record(first, embedded)
    found = np.concatenate(list(first.embed(5)))
    assert embedded == [0, 3, 2, 1]
    expected = np.concatenate(list(first.embedder.corpus(town_corpus)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_help_that_comes_too_late_is_none(make):
    first, second = make(0), make(1)
    (first.path / "step-000000004-killed").mkdir(parents=True)
    parts = first.embed(5)
    next(parts)
    (folder,) = first.path.iterdir()
    (folder / "chunk-000001.npy").unlink()
    record(second, [], parts.close)
    assert second.help() is None
    assert not list(first.path.iterdir())


@pytest.mark.parametrize("worker", [-1, 2])
def test_worker_that_is_none_is_refused(make, worker):
    with pytest.raises(ValueError, match=f"worker={worker}, num_workers=2"):
        make(worker)
