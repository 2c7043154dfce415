import pytest

from realm_tf.data.article_like import as_article, as_corpus, cut_documents
from realm_tf.data.blocks import Article

EMMA = Article("1", "emma", "a novel by the author")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (EMMA, EMMA),
        ("a novel", Article("7", "", "a novel")),
        (("emma", "a novel"), Article("7", "emma", "a novel")),
        ({"text": "a novel"}, Article("7", "", "a novel")),
        (
            {"id": 3, "title": "emma", "text": "a novel"},
            Article("3", "emma", "a novel"),
        ),
    ],
)
def test_as_article_takes_what_people_have(given, expected):
    assert as_article(given, "7") == expected


@pytest.mark.parametrize("given", [None, 3, ("a", "b", "c"), {"title": "x"}])
def test_as_article_refuses_anything_else(given):
    with pytest.raises(TypeError, match="must be an `Article`"):
        as_article(given)


def test_as_corpus_builds_opens_and_passes_through(tmp_path, featurizer):
    articles = [Article("emma", "emma", "a novel"), "the city"]
    built = as_corpus(articles, tmp_path / "corpus", featurizer)
    assert [block.document_id for block in built] == ["emma", "1"]
    opened = as_corpus(tmp_path / "corpus", tmp_path / "unused", featurizer)
    assert opened.fingerprint == built.fingerprint
    assert as_corpus(built, tmp_path / "unused", featurizer) is built
    assert not (tmp_path / "unused").exists()


def test_cut_documents_keeps_each_document_together(featurizer):
    blocks = cut_documents([EMMA, {"id": "2", "text": "the city"}], featurizer)
    assert [block.document_id for block in blocks] == ["1", "2"]
    assert blocks[0].text == EMMA.text


@pytest.mark.parametrize("document", ["no id", {"id": "1", "text": "  "}])
def test_cut_documents_needs_an_id_and_a_text(document, featurizer):
    with pytest.raises(ValueError, match="must have an id and a text"):
        cut_documents([document], featurizer)
