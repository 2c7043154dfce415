import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.serving.bundle import SCANN_QA
from realm_tf.serving.export import scann_graph_searcher
from realm_tf.serving.export.op_check import list_ops
from realm_tf.serving.export.scann_graph_searcher import ScannGraphSearcher

ALL_LEAVES = ScannOptions(num_leaves=4, leaves_to_search=4)


@pytest.fixture(scope="module")
def embeddings():
    pytest.importorskip("scann.scann_ops.py.scann_ops")
    return np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)


def test_search_scores_exactly_what_it_finds(embeddings):
    search = ScannGraphSearcher(embeddings, ALL_LEAVES).search
    queries = embeddings[:5] + 0.1
    want = BruteForceSearcher(embeddings).search(queries, 3)
    for row, query in enumerate(queries):
        scores, places = tf.function(search, autograph=False)(query, 3)
        np.testing.assert_array_equal(scores, want.scores[row])
        np.testing.assert_array_equal(places, want.block_ids[row])


def test_missing_operations_are_said_to_be_missing(monkeypatch):
    name = "scann.scann_ops.py"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install 'scann"):
        scann_graph_searcher._import_ops()


def test_export_loads_where_scann_is_and_nowhere_else(
    make_qa, cities, embeddings, tmp_path
):
    qa = make_qa()
    # Each sentence of the long article is a block, so there are enough.
    articles = [
        {"id": f"{a.document_id}{i}", "title": a.title, "text": a.text}
        for a in cities
        for i in range(3)
    ]
    qa.build_index(articles, tmp_path / "index")
    bundle = qa.export(tmp_path / "out", models=("scann_qa",))
    folder = bundle.model_path(SCANN_QA)
    assert any(op.startswith("Scann>") for op in list_ops(folder))
    loading = (
        "import sys, tensorflow as tf, tensorflow_text\n{}"
        "m = tf.saved_model.load(sys.argv[1])\n"
        "f = m.signatures['serving_default']\n"
        "print(f(question=tf.constant(['Where is Rome?']))['text'].shape)\n"
    )
    for extra, fits in (
        ("from scann.scann_ops.py import scann_ops\n", True),
    ) + ((("", False),)):
        done = subprocess.run(
            [sys.executable, "-c", loading.format(extra), str(folder)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) == fits, done.stderr[-1000:]
        if fits:
            assert done.stdout.strip() == "(1, 5)"
        else:
            assert "Op type not registered" in done.stderr
