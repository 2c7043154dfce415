import tempfile

import pytest

from realm_tf.training.refresh.bucket_exchange import BucketExchange
from realm_tf.training.refresh.follow_training import follow_training


def finish(exchange):
    """Ends a training after one snapshot."""
    exchange.write_snapshot(3, *[exchange.qa.query_embedder] * 2)
    exchange.end()


def test_each_snapshot_gets_an_index_once(exchange):
    finish(exchange)
    steps = []
    count = follow_training(
        str(exchange.path), on_refresh=lambda step, _: steps.append(step)
    )
    assert (count, steps) == (1, [3])
    assert exchange.index_steps() == {1: 3}
    assert follow_training(str(exchange.path)) == 0


def test_options_of_the_refresher_are_passed_on(exchange):
    finish(exchange)
    with pytest.raises(ValueError, match="searcher='nonsense'"):
        follow_training(str(exchange.path), searcher="nonsense")


def test_copies_from_a_bucket_are_removed(
    exchange, town_corpus, tmp_path, monkeypatch
):
    url = f"file://{tmp_path}/bucket"
    bucket = BucketExchange(url, tmp_path / "trainer")
    bucket.qa = exchange.qa
    bucket.begin(exchange.qa, town_corpus)
    finish(bucket)
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    assert follow_training(url, dtype="mixed_bfloat16") == 1
    assert not list(copies.iterdir())
    assert follow_training(url, work=copies / "kept") == 0
    assert (copies / "kept" / "model").is_dir()


def test_a_bucket_takes_one_worker():
    with pytest.raises(ValueError, match=r"num_workers=2, watch=gs://run"):
        follow_training("gs://run", num_workers=2)


def test_training_that_never_begins(tmp_path):
    with pytest.raises(TimeoutError, match="wait for a training ended"):
        follow_training(str(tmp_path / "nothing"), timeout=0.2)
