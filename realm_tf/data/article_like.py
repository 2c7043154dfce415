"""What people have at hand, as articles, blocks or a corpus."""

import os
import pathlib
from collections.abc import Iterable, Mapping

from realm_tf.data.blocks import Article, Block, split_into_blocks
from realm_tf.data.corpus import Corpus
from realm_tf.data.corpus_builder import build_corpus
from realm_tf.data.featurizers import Featurizer

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
    if isinstance(article, Article):
        return article
    if isinstance(article, str):
        return Article(default_id, "", article)
    if isinstance(article, tuple) and len(article) == 2:
        return Article(default_id, *article)
    if isinstance(article, Mapping) and isinstance(article.get("text"), str):
        return Article(
            str(article.get("id", default_id)),
            article.get("title", ""),
            article["text"],
        )
    raise TypeError(
        "An article must be an `Article`, a dict with a 'text', a pair of "
        f"title and text, or a text. Received: {type(article).__name__}."
    )


def as_corpus(
    source: Corpus | str | os.PathLike[str] | Iterable[ArticleLike],
    path: pathlib.Path,
    featurizer: Featurizer,
) -> Corpus:
    """Opens a corpus, or builds one of articles.

    Args:
        source: `Corpus`, path of a corpus folder, or articles, which are
            numbered where they have no id.
        path: where a corpus of articles is built.
        featurizer: `Featurizer`.
    """
    if isinstance(source, Corpus):
        return source
    if isinstance(source, str | os.PathLike):
        return Corpus.open(source)
    articles = [as_article(article, str(i)) for i, article in enumerate(source)]
    return build_corpus(
        articles, path, featurizer, max_wordpieces=featurizer.block_length
    )


def cut_documents(
    documents: Iterable[ArticleLike], featurizer: Featurizer
) -> list[Block]:
    """Cuts documents that have ids of their own into blocks.

    Raises:
        ValueError: if a document has no id or no text.
    """
    blocks = []
    for document in documents:
        article = as_article(document)
        cut = split_into_blocks(
            article, featurizer, max_wordpieces=featurizer.block_length
        )
        if not article.document_id or not cut:
            raise ValueError(
                "A document that is added must have an id and a text. "
                f"Received: id={article.document_id!r}, "
                f"{len(article.text)} characters of text. Pass "
                '{"id": ..., "title": ..., "text": ...}.'
            )
        blocks += cut
    return blocks
