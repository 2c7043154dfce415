import builtins
import json

import numpy as np
import pytest

from realm_tf.errors import RecallError, ScannBuildError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index import index_builder

# With this few leaves to search, ScaNN finds about a third.
POOR = ScannOptions(num_leaves=40, leaves_to_search=1, candidates_per_result=1)


@pytest.fixture
def large_corpus(make_corpus):
    return make_corpus(2000)


@pytest.fixture
def no_scann(monkeypatch):
    real_import = builtins.__import__

    def fail(name, *args, **keywords):
        if name.startswith("scann."):
            raise ImportError("no scann here")
        return real_import(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", fail)


def test_manifest_describes_the_version(build_index, corpus):
    manifest = build_index(dtype="bfloat16").manifest
    assert manifest.kind == "index"
    assert manifest.counts == {
        "num_blocks": 20,
        "embedding_dim": 8,
        "num_excluded": 0,
    }
    assert manifest.fingerprints == {
        "corpus": "corpus-a",
        "tokenizer": "tokenizer-a",
        "embedder": "embedder-a",
    }
    assert manifest.options["dtype"] == "bfloat16"
    assert manifest.options["searcher"] == "brute_force"


def test_a_stream_of_chunks_equals_one_array(
    build_index, make_embeddings, tmp_path
):
    rows = make_embeddings(20)
    whole = build_index(rows=rows, path=tmp_path / "a")
    chunks = (rows[start : start + 3] for start in range(0, 20, 3))
    streamed = build_index(rows=chunks, path=tmp_path / "b")
    assert streamed.fingerprint == whole.fingerprint


def test_progress_counts_rows(build_index, make_embeddings):
    calls = []
    rows = make_embeddings(20)
    build_index(
        rows=[rows[:15], rows[15:]], progress=lambda *done: calls.append(done)
    )
    assert calls == [("index", 15, 20, {}), ("index", 20, 20, {})]


def test_i18_skip_bad_counts_and_never_returns_a_block(
    build_index, make_embeddings
):
    rows = make_embeddings(20)
    rows[[4, 11]] = np.nan
    with pytest.raises(ValueError, match=r"blocks \[4, 11\]"):
        build_index(rows=rows)
    index = build_index(rows=rows, skip_bad=True)
    assert index.manifest.counts["num_excluded"] == 2
    assert index.num_blocks == 18
    found = set(index.search(np.ones((1, 8)), 20).block_ids[0].tolist())
    assert found == {-1, *range(20)} - {4, 11}
    assert len(index.blocks([4, 11])) == 2  # their texts are there


def test_i18_skip_bad_works_with_scann(
    build_index, large_corpus, make_embeddings
):
    rows = make_embeddings(2000)
    rows[:1000] = 0.0
    index = build_index(
        large_corpus, rows, searcher="scann", skip_bad=True, recall_floor=0.0
    )
    result = index.search(rows[1000:1010], 5)
    assert (result.block_ids >= 1000).all()


@pytest.mark.parametrize("num_blocks", [0, 1, 2])
def test_i19_tiny_indexes_work_through_brute_force(
    build_index, make_corpus, make_embeddings, num_blocks
):
    index = build_index(make_corpus(num_blocks), make_embeddings(num_blocks))
    assert index.is_exact
    assert index.num_blocks == num_blocks
    result = index.search(np.ones((1, 8)), 3)
    assert (result.block_ids >= 0).sum() == num_blocks


def test_i20_equal_blocks_are_ordered_by_id(build_index):
    index = build_index(rows=np.ones((20, 8)))
    result = index.search(np.ones((2, 8)), 20)
    assert (result.block_ids == np.arange(20)).all()


def test_auto_takes_scann_for_many_blocks(
    build_index, large_corpus, make_embeddings, monkeypatch
):
    pytest.importorskip("scann")
    rows = make_embeddings(2000)
    assert build_index(large_corpus, rows).is_exact
    monkeypatch.setattr(index_builder, "MIN_BLOCKS_FOR_SCANN", 2000)
    assert not build_index(large_corpus, rows, recall_floor=0.0).is_exact
    assert build_index(large_corpus, rows, searcher="brute_force").is_exact


def test_unknown_searcher_is_refused(build_index):
    with pytest.raises(ValueError, match="one of .*searcher='faiss'"):
        build_index(searcher="faiss")


def test_i21_recall_is_measured_and_stored(
    build_index, large_corpus, make_embeddings
):
    index = build_index(
        large_corpus,
        make_embeddings(2000),
        searcher="scann",
        scann=ScannOptions(num_leaves=40, leaves_to_search=40),
    )
    recall = index.manifest.options["searcher_recall"]
    assert recall.keys() == {"at_5", "at_20", "at_100"}
    assert min(recall.values()) > 0.9
    assert index.manifest.options["scann"]["num_leaves"] == 40


def test_i21_recall_under_the_floor_fails_with_the_number(
    build_index, large_corpus, make_embeddings, tmp_path
):
    rows = np.random.default_rng(0).standard_normal((2000, 8))
    with pytest.raises(RecallError, match=r"'at_20': 0\.\d+.*num_leaves=40"):
        build_index(large_corpus, rows, searcher="scann", scann=POOR)
    assert not (tmp_path / "index" / "v000001").exists()
    build_index(
        large_corpus, rows, searcher="scann", scann=POOR, recall_floor=0.1
    )


def test_probe_queries_decide_the_measured_recall(
    build_index, large_corpus, tmp_path
):
    rows = np.random.default_rng(0).standard_normal((2000, 8))
    recalls = []
    for number, queries in enumerate([None, np.zeros((3, 8))]):
        index = build_index(
            large_corpus,
            rows,
            path=tmp_path / str(number),
            searcher="scann",
            scann=POOR,
            recall_floor=0.0,
            probe_queries=queries,
        )
        recalls.append(index.manifest.options["searcher_recall"]["at_20"])
    assert recalls[0] != recalls[1]


def test_i22_a_dying_scann_leaves_the_old_version(
    build_index, large_corpus, make_embeddings, monkeypatch, tmp_path
):
    rows = make_embeddings(2000)
    build_index(large_corpus, rows)
    program = tmp_path / "dies.py"
    program.write_text("import os; os.abort()")
    monkeypatch.setattr(
        "realm_tf.retrieval.searchers.scann_builder.__file__", str(program)
    )
    with pytest.raises(ScannBuildError, match="SIGABRT.*num_leaves="):
        build_index(large_corpus, rows, searcher="scann")
    names = [p.name for p in (tmp_path / "index").iterdir() if p.is_dir()]
    assert names == ["v000001"]


def test_e01_auto_without_scann_warns_once_and_scores_everything(
    build_index, large_corpus, make_embeddings, monkeypatch, no_scann
):
    monkeypatch.setattr(index_builder, "MIN_BLOCKS_FOR_SCANN", 2000)
    with pytest.warns(UserWarning, match="2000 blocks.*pip install") as caught:
        index = build_index(large_corpus, make_embeddings(2000))
    assert len(caught) == 1
    assert index.is_exact


def test_e01_scann_by_name_fails_before_anything_is_embedded(
    build_index, no_scann
):
    def chunks():
        raise AssertionError("embedded")
        yield

    with pytest.raises(ImportError, match="pip install 'scann"):
        build_index(rows=chunks(), searcher="scann")


def test_manifest_is_plain_json(build_index):
    text = (build_index().folder / "manifest.json").read_text()
    assert json.loads(text)["options"]["max_norm"] > 0
