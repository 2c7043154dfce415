import pytest

from realm_tf.data.corpus import blocks
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.documents import as_corpus, cut_documents

EMMA = Article("emma", "Emma", "Emma is a novel.")


def test_corpus_is_built_of_articles(short_featurizer, tmp_path):
    corpus = as_corpus(
        iter([EMMA, "A text.", ("Title", "More of it.")]),
        tmp_path / "corpus",
        short_featurizer,
    )
    assert [(b.document_id, b.title, b.text) for b in corpus] == [
        ("emma", "Emma", "Emma is a novel."),
        ("1", "", "A text."),
        ("2", "Title", "More of it."),
    ]


def test_corpus_is_opened_by_its_path(city_corpus, tmp_path, short_featurizer):
    path = tmp_path / "unused"
    assert as_corpus(city_corpus, path, short_featurizer) is city_corpus
    for given in (city_corpus.path, str(city_corpus.path)):
        opened = as_corpus(given, path, short_featurizer)
        assert isinstance(opened, Corpus)
        assert opened.fingerprint == city_corpus.fingerprint
    assert not path.exists()


@pytest.mark.parametrize("source", [EMMA, {"text": "A text."}])
def test_single_article_is_no_corpus(source, short_featurizer, tmp_path):
    with pytest.raises(TypeError, match="in a list"):
        as_corpus(source, tmp_path / "corpus", short_featurizer)


def test_cutting_can_be_ended(short_featurizer, monkeypatch):
    """Also while the sentences are tokenized."""
    document = {"id": "1", "text": "A city. " * 50}
    expected = cut_documents([document], short_featurizer)
    monkeypatch.setattr(blocks, "_TOKENIZED_AT_ONCE", 7)
    calls = []
    cut = cut_documents([document], short_featurizer, lambda: calls.append(1))
    assert cut == expected
    assert len(calls) == 1 + 8  # of 51 texts, one of them the title
    left = [1, 2, 3]
    with pytest.raises(IndexError):
        cut_documents([document], short_featurizer, left.pop)


def test_blocks_are_cut_to_the_length_of_the_featurizer(short_featurizer):
    long = {"id": "long", "text": " ".join(["Many people live there."] * 20)}
    blocks = cut_documents([EMMA, long], short_featurizer)
    assert [block.document_id for block in blocks[:2]] == ["emma", "long"]
    assert len(blocks) > 2
    assert {block.document_id for block in blocks[1:]} == {"long"}


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ("no id", "`document_id` must not be empty"),
        ({"id": "", "text": "a"}, "`document_id` must not be empty"),
        ({"id": "2", "text": ""}, "an id of its own and a text"),
        ({"id": "2", "text": " \n"}, "an id of its own and a text"),
        ({"id": "emma", "text": "a"}, "known already: True"),
        ({"id": "2", "text": "half \ud800 a pair"}, "must be text in UTF-8"),
        ({"id": "2" * 10_000, "text": "a"}, "must not be longer"),
    ],
)
def test_documents_that_cannot_be_added_are_refused(
    short_featurizer, document, match
):
    with pytest.raises(ValueError, match=match):
        cut_documents([EMMA, document], short_featurizer)


def test_corpus_is_built_of_a_file_or_a_folder(short_featurizer, tmp_path):
    file = tmp_path / "texts" / "emma.jsonl"
    file.parent.mkdir()
    file.write_text('{"id": "emma", "title": "Emma", "text": "A novel."}\n')
    for i, given in enumerate((str(file), file.parent)):
        corpus = as_corpus(given, tmp_path / str(i), short_featurizer)
        assert corpus[0].text == "A novel."
    with pytest.raises(ValueError, match="`sources` must be"):
        as_corpus(tmp_path / "x", tmp_path / "y", short_featurizer)
