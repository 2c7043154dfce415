"""What people have at hand, as an article."""

import reprlib
from collections.abc import Mapping
from typing import Any

from realm_tf.data.corpus.blocks import Article

ArticleLike = Article | Mapping[str, str] | tuple[str, str] | str
"""`Article`, dict with "text" and optionally "id" and "title", pair of title
and text, or text."""


def as_article(article: ArticleLike, default_id: str = "") -> Article:
    """Converts to an `Article`.

    Args:
        article: see `ArticleLike`.
        default_id: document id of an article that names none.

    Raises:
        TypeError: if it is nothing of the kind.

    Example:
    >>> as_article(("Emma", "Emma is a novel."), "1")
    Article(document_id='1', title='Emma', text='Emma is a novel.')
    """
    parts: tuple[Any, ...] = ()
    if isinstance(article, Article):
        parts = (article.document_id, article.title, article.text)
    elif isinstance(article, str):
        parts = (default_id, "", article)
    elif isinstance(article, tuple) and len(article) == 2:
        parts = (default_id, *article)
    elif isinstance(article, Mapping) and "text" in article:
        document_id = article.get("id", default_id)
        if type(document_id) is int:
            document_id = str(document_id)
        parts = (document_id, article.get("title", ""), article["text"])
    if not parts or not all(isinstance(part, str) for part in parts):
        raise TypeError(
            "An article must be an `Article`, a dict with a 'text', a pair of "
            f"title and text, or a text. Received: {reprlib.repr(article)}. "
            "Give id, title and text as texts."
        )
    return Article(*parts)
