"""What people have at hand, as articles, blocks or a corpus."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from realm_tf._manifest import MANIFEST_NAME
from realm_tf.data.corpus.article import (
    ArticleLike,
    as_article,
    as_articles,
    rows_of,
)
from realm_tf.data.corpus.article_formats import check_article
from realm_tf.data.corpus.blocks import Article, Block, split_into_blocks
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.text.featurizer import Featurizer


def as_corpus(
    source: Corpus | str | os.PathLike[str] | Iterable[ArticleLike],
    path: pathlib.Path,
    featurizer: Featurizer,
) -> Corpus:
    """Opens a corpus, or builds one of articles.

    Args:
        source: `Corpus`; path of a corpus folder, or of a file or folder that
            `build_corpus` reads; or articles in a list or a table, see
            `as_articles`.
        path: where a corpus of articles is built.
        featurizer: `Featurizer`.
    """
    if isinstance(source, Corpus):
        return source
    articles: Any = source
    if isinstance(source, str | os.PathLike):
        if (pathlib.Path(source) / MANIFEST_NAME).exists():
            return Corpus.open(source)
    elif isinstance(source, Article | Mapping):
        raise TypeError(
            "`source` must be a `Corpus`, a path, or several articles. "
            f"Received: {type(source).__name__}. Put a single article in a "
            "list."
        )
    else:
        articles = as_articles(source)
    return build_corpus(
        articles, path, featurizer, max_wordpieces=featurizer.block_length
    )


def cut_documents(
    documents: Iterable[ArticleLike],
    featurizer: Featurizer,
    before_part: Callable[[], None] | None = None,
) -> list[Block]:
    """Cuts documents that have ids of their own into blocks.

    Args:
        documents: articles, or mappings with their fields.
        featurizer: `Featurizer`.
        before_part: see `split_into_blocks`.

    Raises:
        TypeError: if it is nothing of the kind.
        ValueError: if a document has no id or no text, or the id of another.
    """
    blocks = []
    known: set[str] = set()
    for document in rows_of(documents, "text"):
        article = check_article(as_article(document))
        cut = split_into_blocks(
            article,
            featurizer,
            max_wordpieces=featurizer.block_length,
            before_part=before_part,
        )
        if article.document_id in known or not cut:
            raise ValueError(
                "A document that is added must have an id of its own and a "
                f"text. Received: id={article.document_id!r}, known already: "
                f"{article.document_id in known}, {len(article.text)} "
                'characters of text. Pass {"id": ..., "title": ..., "text": '
                "...}."
            )
        known.add(article.document_id)
        blocks += cut
    return blocks
