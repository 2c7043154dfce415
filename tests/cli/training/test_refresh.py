import pytest

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.realm_qa import RealmQA
from realm_tf.training.refresh.bucket_exchange import BucketExchange
from realm_tf.training.refresh.exchange import Exchange


@pytest.fixture
def exchange(corpus, preset, tmp_path):
    """A training that ended after one snapshot."""
    exchange = Exchange(tmp_path / "exchange")
    qa = RealmQA.from_preset(preset)
    exchange.begin(qa, Corpus.open(corpus))
    exchange.write_snapshot(3, qa.query_embedder, qa.block_embedder)
    exchange.end()
    return exchange


def test_refresh_follows_a_training_to_its_end(corpus, exchange, run):
    result = run("refresh", "--watch", exchange.path, "--json")
    assert result.json == {"num_refreshes": 1}
    assert "Step 3: embedded" in result.stderr
    assert exchange.index_steps() == {1: 3}
    again = run(
        "refresh", "--watch", exchange.path, "--corpus", corpus, "--json"
    )
    assert again.json == {"num_refreshes": 0}


def test_several_processes_share_the_work(exchange, run):
    command = ("refresh", "--watch", exchange.path, "--num-workers", 2)
    assert run(*command, "--worker", 1, "--json").json == {"num_refreshes": 0}
    assert run(*command, "--json").json == {"num_refreshes": 1}
    assert exchange.index_steps() == {1: 3}


def test_w14_training_that_never_begins(fail, tmp_path):
    error = fail("refresh", "--watch", tmp_path / "nothing", "--timeout", 0.2)
    assert "wait for a training ended" in error


def test_a_bucket_in_place_of_a_folder(corpus, preset, run, fail, tmp_path):
    url = f"file://{tmp_path}/bucket/run"
    exchange = BucketExchange(url, tmp_path / "trainer")
    qa = RealmQA.from_preset(preset)
    exchange.begin(qa, Corpus.open(corpus))
    exchange.write_snapshot(3, qa.query_embedder, qa.block_embedder)
    exchange.end()
    command = ("refresh", "--watch", url, "--corpus", corpus)
    assert "num_workers=2" in fail(*command, "--num-workers", 2)
    assert run(*command, "--json").json == {"num_refreshes": 1}
    assert exchange.index_steps() == {1: 3}
    # Another machine, which has nothing of it yet.
    command = (*command, "--work", tmp_path / "other")
    assert run(*command, "--json").json == {"num_refreshes": 0}
