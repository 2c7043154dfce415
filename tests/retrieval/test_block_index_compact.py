"""Folding updates into a new corpus and version, with a real corpus."""

import zlib

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article, split_into_blocks
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError, LockedError, MismatchError
from realm_tf.retrieval.index.block_index import BlockIndex

DIM = 16
MAX_WORDPIECES = 16


def make_article(number, edition=0):
    text = f"Emma is novel {number}. She lives in {edition} houses. " * 2
    return Article(f"doc-{number}", f"Emma {number}", text)


def embed(blocks):
    """An embedding that depends on nothing but title and text."""
    return np.stack(
        [
            np.random.default_rng(
                zlib.crc32(f"{block.title}\0{block.text}".encode())
            ).standard_normal(DIM, np.float32)
            for block in blocks
        ]
    )


def build(path, articles, featurizer, **keywords):
    corpus = build_corpus(
        articles,
        path.with_suffix(".corpus"),
        featurizer,
        max_wordpieces=MAX_WORDPIECES,
    )
    return BlockIndex.build(
        path,
        corpus,
        embed(list(corpus)),
        embedder_fingerprint="embedder-a",
        **keywords,
    )


@pytest.fixture
def add(featurizer):
    def add(index, *articles):
        blocks = [
            block
            for article in articles
            for block in split_into_blocks(
                article, featurizer, max_wordpieces=MAX_WORDPIECES
            )
        ]
        return index.add(blocks, embed(blocks))

    return add


@pytest.fixture
def updated(tmp_path, featurizer, add):
    """Index of documents 0 to 9, then changed; and what it holds now."""
    articles = {n: make_article(n) for n in range(10)}
    index = build(tmp_path / "index", articles.values(), featurizer)
    for number, edition in ((3, 1), (20, 0), (21, 0), (20, 1), (21, 1)):
        articles.pop(number, None)
        articles[number] = make_article(number, edition)
        add(index, articles[number])
    index.delete(["doc-0", "doc-21"])
    del articles[0], articles[21]
    return index, articles


def assert_same_answers(a, b, num_queries=20):
    queries = np.random.default_rng(1).standard_normal((num_queries, DIM))
    for k in (1, 5, a.num_blocks + 1):
        found, expected = a.search(queries, k), b.search(queries, k)
        np.testing.assert_array_equal(found.block_ids, expected.block_ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
    ids = found.block_ids[0, :-1]
    assert a.blocks(ids) == b.blocks(ids)
    np.testing.assert_array_equal(a.embeddings(ids), b.embeddings(ids))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_i24_a_compacted_index_equals_a_fresh_one(
    tmp_path, featurizer, add, dtype
):
    index = build(
        tmp_path / "index",
        [make_article(n) for n in range(10)],
        featurizer,
        dtype=dtype,
    )
    add(index, make_article(3, edition=1), make_article(20))
    index.delete(["doc-0"])
    compacted = index.compact(tmp_path / "new.corpus", featurizer)
    kept = [make_article(n) for n in range(10) if n not in (0, 3)]
    fresh = build(
        tmp_path / "fresh",
        [*kept, make_article(3, edition=1), make_article(20)],
        featurizer,
        dtype=dtype,
    )
    assert compacted.fingerprint == fresh.fingerprint
    assert_same_answers(compacted, fresh)


def test_answers_stay_the_same_but_for_block_ids(updated, tmp_path, featurizer):
    index, articles = updated
    compacted = index.compact(tmp_path / "new.corpus", featurizer)
    assert compacted.version == 2
    assert compacted.num_blocks == index.num_blocks
    queries = np.random.default_rng(1).standard_normal((20, DIM))
    before, after = index.search(queries, 5), compacted.search(queries, 5)
    np.testing.assert_array_equal(before.scores, after.scores)
    for row in range(20):
        texts = [
            [(block.document_id, block.text) for block in found]
            for found in (
                index.blocks(before.block_ids[row]),
                compacted.blocks(after.block_ids[row]),
            )
        ]
        assert texts[0] == texts[1]
    documents = {block.document_id for block in compacted.corpus}
    assert documents == {article.document_id for article in articles.values()}


def test_the_new_version_takes_updates_and_the_old_does_not(
    updated, tmp_path, featurizer, add
):
    index, _ = updated
    compacted = index.compact(tmp_path / "new.corpus", featurizer)
    first = add(compacted, make_article(30))[0]
    assert first == compacted.corpus.num_blocks
    with pytest.raises(LockedError, match="version=1, newest=2"):
        add(index, make_article(31))
    reopened = BlockIndex.open(index.path, compacted.corpus)
    assert_same_answers(reopened, compacted)
    with pytest.raises(MismatchError, match="corpus .* <- differs"):
        BlockIndex.open(index.path, index.corpus)


def test_blocks_with_bad_embeddings_stay_left_out(tmp_path, featurizer):
    corpus = build_corpus(
        [make_article(n) for n in range(5)],
        tmp_path / "corpus",
        featurizer,
        max_wordpieces=MAX_WORDPIECES,
    )
    rows = embed(list(corpus))
    rows[[0, 7]] = np.nan
    index = BlockIndex.build(
        tmp_path / "index",
        corpus,
        rows,
        embedder_fingerprint="embedder-a",
        skip_bad=True,
    )
    index.delete(["doc-0"])  # block 0 is one of its
    num_gone = len(corpus.find_document("doc-0"))
    compacted = index.compact(tmp_path / "new.corpus", featurizer)
    assert compacted.manifest.counts["num_excluded"] == 1
    found = compacted.search(np.ones((1, DIM)), 100).block_ids
    assert 7 - num_gone not in found


def test_a_failed_compaction_changes_nothing(updated, tmp_path, featurizer):
    index, _ = updated
    other = Featurizer(featurizer.vocabulary[:-1])
    with pytest.raises(MismatchError, match="`featurizer`"):
        index.compact(tmp_path / "new.corpus", other)
    with pytest.raises(FolderError, match="does not exist yet"):
        index.compact(index.corpus.path, featurizer)
    assert BlockIndex.open(index.path, index.corpus).version == 1


@pytest.mark.parametrize(
    "num_updates", [300, pytest.param(10_000, marks=pytest.mark.large)]
)
def test_i24_many_single_updates_then_compaction(
    tmp_path, featurizer, num_updates
):
    """Blocks are made without the featurizer, as that is not the point."""
    generator = np.random.default_rng(0)
    articles = {n: make_article(n) for n in range(100)}
    index = build(tmp_path / "index", articles.values(), featurizer)
    [shape] = split_into_blocks(
        Article("x", "Emma", "Emma is a novel."), featurizer
    )
    for step in range(num_updates):
        number = int(generator.integers(num_updates))
        if number in articles and generator.random() < 0.3:
            index.delete([f"doc-{number}"])
            del articles[number]
            continue
        articles.pop(number, None)
        articles[number] = Article(
            f"doc-{number}", f"Emma {step}", "Emma is a novel."
        )
        block = type(shape)(
            text=shape.text,
            title=f"Emma {step}",
            document_id=f"doc-{number}",
        )
        index.add([block], embed([block]))
    reopened = BlockIndex.open(index.path, index.corpus)
    assert_same_answers(reopened, index)
    compacted = reopened.compact(tmp_path / "new.corpus", featurizer)
    fresh = build(tmp_path / "fresh", articles.values(), featurizer)
    assert_same_answers(compacted, fresh)
