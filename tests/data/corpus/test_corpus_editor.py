import numpy as np
import pytest

from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.blocks import Article, split_into_blocks
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.corpus.corpus_editor import edit_corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError, MismatchError


@pytest.fixture
def new_articles():
    return [
        Article("new-1", "Emma", "Emma is old. She lives in the south."),
        Article("doc-3", "Zürich", "A new text: ½ a novel!"),
    ]


@pytest.fixture
def edit(corpus, featurizer, new_articles, tmp_path):
    """Replaces document 3, deletes 0 and 19, and adds a new one."""

    def edit(name="edited"):
        deleted = [
            int(block_id)
            for document in ("doc-0", "doc-3", "doc-19")
            for block_id in corpus.find_document(document)
        ]
        added = [
            block
            for article in new_articles
            for block in split_into_blocks(
                article, featurizer, max_wordpieces=32
            )
        ]
        return edit_corpus(
            corpus, tmp_path / name, featurizer, deleted=deleted, added=added
        )

    return edit


@pytest.mark.parametrize("part_characters", [1, 500, 4_000_000])
def test_an_edited_corpus_equals_a_fresh_one(
    edit, articles, new_articles, featurizer, tmp_path, monkeypatch,
    part_characters,
):  # fmt: skip
    gone = {"doc-0", "doc-3", "doc-19"}
    kept = [a for a in articles if a.document_id not in gone]
    fresh = build_corpus(
        [*kept, *new_articles],
        tmp_path / "fresh",
        featurizer,
        max_wordpieces=32,
    )
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", part_characters)
    edited = edit()
    assert list(edited) == list(fresh)
    assert edited.fingerprint == fresh.fingerprint
    assert edited.find_document("doc-0").tolist() == []
    assert [b.title for b in edited.blocks(edited.find_document("doc-3"))] == [
        "Zürich"
    ]


def test_the_old_corpus_stays_and_no_work_folder_is_left(
    edit, corpus, tmp_path
):
    before = list(corpus)
    edit()
    assert list(corpus) == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"corpus", "edited"}


def test_nothing_to_do_copies(corpus, featurizer, tmp_path):
    copy = edit_corpus(
        corpus, tmp_path / "copy", featurizer, deleted=[], added=[]
    )
    assert copy.fingerprint == corpus.fingerprint
    np.testing.assert_array_equal(copy.token_ids(5), corpus.token_ids(5))


def test_another_tokenizer_is_refused(corpus, featurizer, tmp_path):
    other = Featurizer(featurizer.vocabulary[:-1])
    with pytest.raises(MismatchError, match="`featurizer` must have the tok"):
        edit_corpus(corpus, tmp_path / "x", other, deleted=[], added=[])


def test_an_existing_folder_is_refused(corpus, featurizer):
    with pytest.raises(FolderError, match="does not exist yet"):
        edit_corpus(corpus, corpus.path, featurizer, deleted=[], added=[])


def test_deleting_everything_is_refused(corpus, featurizer, tmp_path):
    with pytest.raises(ValueError, match="all deleted, and none added"):
        edit_corpus(
            corpus,
            tmp_path / "x",
            featurizer,
            deleted=range(corpus.num_blocks),
            added=[],
        )
    assert not (tmp_path / "x").exists()


def test_a_document_that_is_there_twice_is_refused(
    corpus, featurizer, tmp_path
):
    with pytest.raises(ValueError, match="must not repeat. Received: 'doc-3'"):
        edit_corpus(
            corpus,
            tmp_path / "x",
            featurizer,
            deleted=[],
            added=corpus.blocks(corpus.find_document("doc-3")),
        )
