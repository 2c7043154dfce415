import pathlib

import numpy as np
import pytest

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.errors import FolderError, MismatchError
from realm_tf.training.refresh.exchange import (
    Exchange,
    load_weights,
    save_weights,
)


def test_snapshot_brings_weights_over(exchange, snapshot):
    embedder = snapshot(3)
    copy = copy_layer(embedder)
    copy.projection.kernel.assign(0 * copy.projection.kernel)
    file = exchange.read_snapshot(3, copy, copy)
    assert file.name == "query_embedder.npz"
    for one, other in zip(
        embedder.get_weights(), copy.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_separate_embedders_have_files_of_their_own(exchange):
    query, block = (copy_layer(exchange.qa.query_embedder) for _ in range(2))
    query.projection.bias.assign(query.projection.bias + 1)
    block.projection.bias.assign(block.projection.bias + 2)
    exchange.write_snapshot(0, query, block)
    query_copy, block_copy = copy_layer(block), copy_layer(query)
    exchange.read_snapshot(0, query_copy, block_copy)
    for copy, original in ((query_copy, query), (block_copy, block)):
        np.testing.assert_array_equal(
            copy.projection.bias, original.projection.bias
        )
    with pytest.raises(FolderError, match="Received: one, and two in"):
        exchange.read_snapshot(0, query_copy, query_copy)


def test_two_snapshots_are_kept_and_later_ones_forgotten(exchange, snapshot):
    assert exchange.newest_snapshot() is None
    for step in (0, 5, 10):
        snapshot(step)
    names = [p.name for p in sorted((exchange.path / "snapshots").iterdir())]
    assert names == ["step-000000005", "step-000000010"]
    exchange.forget_after(7)
    assert exchange.newest_snapshot() == 5


def test_needed_snapshots_stay(exchange, snapshot):
    embedder = snapshot(0)
    for step in (5, 10, 15):
        exchange.write_snapshot(step, embedder, embedder, needed=[5])
    assert exchange.snapshot_identity(0) is None
    assert exchange.snapshot_identity(5) is not None


def test_damaged_snapshot_is_written_anew(exchange, snapshot):
    snapshot(5)
    (exchange.snapshot_folder(5) / "manifest.json").unlink()
    assert exchange.snapshot_identity(5) is None
    embedder = snapshot(5)
    exchange.read_snapshot(5, embedder, embedder)


def test_w7_snapshot_that_is_gone_is_named(exchange, snapshot):
    embedder = snapshot(5)
    with pytest.raises(FolderError, match="step-000000004"):
        exchange.read_snapshot(4, embedder, embedder)


def test_weights_of_another_embedder_are_refused(exchange, make_qa, tmp_path):
    save_weights(tmp_path / "weights.npz", make_qa(width=4).query_embedder)
    with pytest.raises(FolderError, match="weights of the embedder"):
        load_weights(tmp_path / "weights.npz", exchange.qa.query_embedder)
    with pytest.raises(FolderError, match="FileNotFoundError"):
        load_weights(tmp_path / "nothing.npz", exchange.qa.query_embedder)


def test_corpus_must_be_the_one_of_the_training(
    exchange, town_corpus, city_corpus
):
    assert exchange.is_begun and not exchange.is_done
    opened = exchange.open_corpus()
    assert opened.fingerprint == town_corpus.fingerprint
    with pytest.raises(MismatchError, match="--corpus"):
        exchange.open_corpus(city_corpus.path)
    with pytest.raises(MismatchError, match="another output"):
        exchange.begin(exchange.qa, city_corpus)


def test_end_is_taken_back_when_training_goes_on(exchange, town_corpus):
    exchange.end()
    assert exchange.is_done
    exchange.begin(exchange.qa, town_corpus)
    assert not exchange.is_done
    assert not Exchange(exchange.path / "other").is_begun


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_url_is_refused(kind):
    with pytest.raises(ValueError, match="BucketExchange"):
        Exchange(kind("gs://bucket/exchange"))
