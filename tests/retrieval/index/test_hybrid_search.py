"""Search by both features, in an index with live updates."""

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index import index_loader
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.searchers.searcher import exact_scores

WEIGHT = 0.7
TEXTS = ["text 3 title", "title 9", "the unknown", "AND ( text:* 12"]


@pytest.fixture
def queries(make_embeddings):
    return make_embeddings(len(TEXTS), seed=5)


def search(index, queries, k, **keywords):
    return index.search(
        queries, k, texts=TEXTS, lexical_weight=WEIGHT, **keywords
    )


def oracle(index, query, text, k):
    """Scores of all blocks that can be found, by the formula."""
    ids = index.live_block_ids()
    dense = exact_scores(query, index.embeddings(ids))
    bm25 = index.bm25([text], ids[None])[0]
    scores = (dense + np.float32(WEIGHT) * bm25).astype(np.float32)
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order], bm25[order]


def check(index, queries, k=6):
    found = search(index, queries, k)
    for row, text in enumerate(TEXTS):
        ids, scores, bm25 = oracle(index, queries[row], text, k)
        np.testing.assert_array_equal(found.block_ids[row], ids)
        np.testing.assert_array_equal(found.scores[row], scores)
        np.testing.assert_array_equal(found.bm25[row], bm25)


def test_both_features_are_scored_exactly(build_index, queries):
    index = build_index()
    assert index.has_words
    check(index, queries)
    dense = index.search(queries, 6)
    assert dense.bm25 is None
    assert (dense.block_ids != search(index, queries, 6).block_ids).any()


def test_updates_and_reopening_change_no_rule(
    build_index, make_embeddings, queries
):
    index = build_index()
    added = [Block("text 3 again", "title 9", "new", -1)] * 2
    index.add(added, make_embeddings(2, seed=9))
    index.delete(["doc-4"])
    check(index, queries)
    reopened = BlockIndex.open(index.path, index.corpus)
    check(reopened, queries)
    np.testing.assert_array_equal(
        search(index, queries, 6).scores, search(reopened, queries, 6).scores
    )


def test_many_candidates_miss_nothing_that_matters(
    build_index, make_corpus, make_embeddings
):
    corpus = make_corpus(1500)
    index = build_index(corpus, make_embeddings(1500), dtype="bfloat16")
    queries = make_embeddings(4, seed=5)
    found, exact = (
        search(index, queries, 5, exact=exact) for exact in (False, True)
    )
    np.testing.assert_array_equal(found.block_ids, exact.block_ids)


def test_a_query_alone_is_searched_as_in_a_batch(build_index, queries):
    index = build_index()
    batch = search(index, queries, 30)
    for row, text in enumerate(TEXTS):
        alone = index.search(
            queries[row : row + 1], 30, texts=[text], lexical_weight=WEIGHT
        )
        np.testing.assert_array_equal(alone.scores[0], batch.scores[row])
        np.testing.assert_array_equal(alone.block_ids[0], batch.block_ids[row])
    assert (batch.block_ids[:, 20:] == -1).all()
    assert np.isneginf(batch.scores[:, 20:]).all()


def test_words_alone_are_ranked_by_bm25(build_index, make_blocks):
    index = build_index()
    index.add(make_blocks("new", 2), np.ones((2, 8)))
    index.delete(["doc-3"])
    texts = ["title 3 text", "block new", "nowhere"]
    found = index.search_words(texts, 25)
    bm25 = index.bm25(texts, np.tile(index.live_block_ids(), (3, 1)))
    for row, scores in enumerate(bm25):
        order = np.lexsort((index.live_block_ids(), -scores))
        ids = index.live_block_ids()[order[: np.count_nonzero(scores)]]
        expected = np.full(25, -1)
        expected[: len(ids)] = ids
        np.testing.assert_array_equal(found.block_ids[row], expected)
        np.testing.assert_array_equal(
            found.scores[row, : len(ids)], scores[order[: len(ids)]]
        )
    assert (found.block_ids[2] == -1).all()
    with pytest.raises(ValueError, match="`k` must be an integer"):
        index.search_words(texts, 0)


def test_texts_must_be_given_with_a_weight(build_index, queries):
    index = build_index()
    with pytest.raises(ValueError, match="Expected: 4. Received: none"):
        index.search(queries, 3, lexical_weight=1.0)
    with pytest.raises(ValueError, match="Expected: 4. Received: 1"):
        index.search(queries, 3, texts=["a"], lexical_weight=1.0)


def test_the_analyzer_is_chosen_and_kept(build_index, tmp_path):
    plain = build_index(path=tmp_path / "plain", analyzer="plain")
    assert plain.analyzer == "plain"
    found = plain.bm25(["texts titles"], np.array([[0, 1]]))
    assert not found.any()
    english = build_index(path=tmp_path / "english", analyzer="english")
    found = english.bm25(["texts titles"], np.array([[0, 1]]))
    assert found.all()


def test_an_unknown_analyzer_is_refused_before_anything_is_embedded(
    build_index,
):
    def chunks():
        raise AssertionError("embedded")
        yield

    with pytest.raises(ValueError, match="`analyzer` must be one of"):
        build_index(rows=chunks(), analyzer="other")


def test_an_index_without_words_refuses_a_weight(build_index, queries):
    index = build_index(analyzer=None)
    assert not index.has_words
    assert index.analyzer is None
    with pytest.raises(MismatchError, match="without one. Build the index"):
        index.search_words(["text"], 3)
    assert not (index.folder / "lexical").exists()
    with pytest.raises(MismatchError, match="without one. Build the index"):
        search(index, queries, 3)
    assert index.search(queries, 3).bm25 is None


def test_without_tantivy_embeddings_are_searched(
    build_index, queries, monkeypatch, tmp_path
):
    index = build_index()
    monkeypatch.setitem(sys.modules, "tantivy", None)
    opened = BlockIndex.open(index.path, index.corpus)
    np.testing.assert_array_equal(
        opened.search(queries, 4).scores, index.search(queries, 4).scores
    )
    with pytest.raises(ImportError, match="pip install 'tantivy"):
        search(opened, queries, 3)
    with pytest.warns(UserWarning, match="gets no lexical part"):
        built = build_index(path=tmp_path / "other")
    assert not built.has_words


def remove(folder):
    next(folder.glob("*.idx")).unlink()


def cut(folder):
    file = next(folder.glob("*.term"))
    file.write_bytes(file.read_bytes()[:-5])


def flip(folder):
    file = next(folder.glob("*.idx"))
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [remove, cut, flip])
def test_a_damaged_lexical_part_is_refused(build_index, damage):
    index = build_index()
    damage(index.folder / "lexical")
    with pytest.raises(FolderError, match="lexical"):
        BlockIndex.open(index.path, index.corpus)


def test_a_lexical_part_of_other_blocks_is_refused(
    build_index, make_corpus, tmp_path, monkeypatch
):
    index = build_index()
    other = build_index(make_corpus(22), path=tmp_path / "other")
    shutil.rmtree(index.folder / "lexical")
    shutil.copytree(other.folder / "lexical", index.folder / "lexical")
    with pytest.raises(FolderError, match="lexical"):
        BlockIndex.open(index.path, index.corpus, verify=False)
    opened = index_loader.open_version(other.folder, verify=True)
    opened.manifest.counts["num_blocks"] = 20
    with pytest.raises(FolderError, match="Expected: 20 blocks"):
        index_loader.open_lexical(opened)


UPDATE = """
    import sys
    import numpy as np
    sys.path.insert(0, sys.argv[2])
    from conftest import FakeCorpus
    from realm_tf.data.corpus.blocks import Block
    from realm_tf.retrieval.index.block_index import BlockIndex

    index = BlockIndex.open(sys.argv[1], FakeCorpus(20))
    index.add([Block("harriet", "smith", "new")], np.ones((1, 8)))
"""


def test_words_of_another_process_are_seen(build_index, queries, request):
    index = build_index()
    folder = str(request.path.parents[1])
    code = textwrap.dedent(UPDATE)
    subprocess.run(
        [sys.executable, "-c", code, str(index.path), folder], check=True
    )
    found = index.search(
        queries[:1], 1, texts=["Harriet Smith"], lexical_weight=100.0
    )
    assert found.block_ids.tolist() == [[20]]
