import pytest

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.retrieval.index.block_index import BlockIndex


def test_script_builds_an_index(full_preset, script, tmp_path):
    pytest.importorskip("scann")
    corpus = full_preset / "corpus"
    # Eleven articles are too few for ScaNN.
    command = ("--preset", full_preset, "--corpus", corpus)
    options = ("--output", tmp_path / "index", "--searcher", "brute_force")
    assert "blocks" in script("build_scann_index.py", *command, *options)
    index = BlockIndex.open(tmp_path / "index", Corpus.open(corpus))
    assert index.num_blocks > 0
