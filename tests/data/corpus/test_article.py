import pytest

from realm_tf.data.corpus.article import as_article
from realm_tf.data.corpus.blocks import Article

EMMA = Article("emma", "Emma", "Emma is a novel.")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (EMMA, EMMA),
        ("A text.", Article("7", "", "A text.")),
        (("Emma", "A text."), Article("7", "Emma", "A text.")),
        ({"text": "A text."}, Article("7", "", "A text.")),
        ({"id": 3, "text": "A text."}, Article("3", "", "A text.")),
        (
            {"id": "a", "title": "b", "text": "c", "more": None},
            Article("a", "b", "c"),
        ),
    ],
)
def test_articles_are_what_people_have(given, expected):
    assert as_article(given, "7") == expected


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        b"A text.",
        ("a", "b", "c"),
        ["a", "b"],
        ("a", None),
        {"title": "no text"},
        {"text": None},
        {"text": "a", "title": None},
        {"text": "a", "id": None},
        {"text": "a", "id": True},
        Article("a", "b", None),
    ],
    ids=repr,
)
def test_something_else_is_no_article(given):
    with pytest.raises(TypeError, match="An article must be"):
        as_article(given)
