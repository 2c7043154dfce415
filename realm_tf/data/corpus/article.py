"""What people have at hand, as articles."""

import numbers
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from realm_tf.data.corpus.blocks import Article

ArticleLike = Article | Mapping[str, Any] | tuple[str, str] | str
"""`Article`, dict with "text" and optionally "id" (or "_id") and "title", pair
of title and text, or text."""

_ID_NAMES = ("id", "_id")  # BEIR writes `_id`


def as_articles(source: Any) -> list[Article]:
    """Converts many, in whatever holds them.

    Args:
        source: iterable of `ArticleLike`, or a table with a column "text" and
            optionally "id" (or "_id") and "title": of pandas, polars, pyarrow
            or `datasets`. Missing titles are empty. Rows without an id are
            numbered, by numbers that are no row's id.

    Raises:
        TypeError: if it is nothing of the kind, naming the row.

    Example:
    >>> [a.document_id for a in as_articles(["One.", {"text": "a", "id": 0}])]
    ['0-1', '0']
    """
    rows = list(rows_of(source, "text"))
    articles = [
        as_article(row, where=f" at row {i}") for i, row in enumerate(rows)
    ]
    known = {article.document_id for article in articles}
    named = []
    for i, article in enumerate(articles):
        if not article.document_id:
            document_id = _unknown(str(i), known)
            article = Article(document_id, article.title, article.text)
        named.append(article)
    return named


def rows_of(source: Any, column: str) -> Iterable[Any]:
    """The rows of a table as dicts; anything else as it is.

    Args:
        source: frame of pandas or polars, pyarrow table, or any iterable.
        column: name that a table must have.

    Raises:
        TypeError: if a table has no such column.
    """
    names = getattr(source, "column_names", None)  # pyarrow and datasets
    if names is None:
        names = getattr(source, "columns", None)
    if names is None or isinstance(source, Mapping):
        return source
    names = [str(name) for name in names]
    if column not in names:
        raise TypeError(
            f"A table must have a column named {column}. Received: columns "
            f"{reprlib.repr(names)}. Rename one."
        )
    if hasattr(source, "iter_rows"):  # polars
        return source.iter_rows(named=True)
    if hasattr(source, "to_pylist"):  # pyarrow
        return source.to_pylist()
    if hasattr(source, "itertuples"):  # pandas
        columns = [source[name].tolist() for name in source.columns]
        return (
            dict(zip(names, row, strict=True))
            for row in zip(*columns, strict=True)
        )
    return source  # datasets: rows are dicts already


def as_article(
    article: ArticleLike, default_id: str = "", *, where: str = ""
) -> Article:
    """Converts to an `Article`.

    Args:
        article: see `ArticleLike`.
        default_id: document id of an article that names none.
        where: place of the article, for the message.

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
        parts = (default_id, _present(article[0], ""), article[1])
    elif isinstance(article, Mapping) and "text" in article:
        given = (article[name] for name in _ID_NAMES if name in article)
        parts = (
            _document_id(next(given, None), default_id),
            _present(article.get("title"), ""),
            article["text"],
        )
    if not parts or not all(isinstance(part, str) for part in parts):
        raise TypeError(
            "An article must be an `Article`, a dict with a 'text', a pair of "
            f"title and text, or a text. Received: {reprlib.repr(article)}"
            f"{where}. Give id, title and text as texts."
        )
    return Article(*map(str, parts))


def _document_id(value: Any, default: str) -> Any:
    value = _present(value, default)
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):  # of NumPy, too
        return str(int(value))
    # pandas makes a column of whole numbers float where one is missing.
    if isinstance(value, numbers.Real) and float(value).is_integer():
        return str(int(float(value)))
    return value


def _present(value: Any, default: str) -> Any:
    """The value, or the default for None, NaN and pandas' NA."""
    is_na = type(value).__name__ in ("NAType", "NaTType")
    is_nan = isinstance(value, numbers.Real) and value != value
    return default if value is None or is_na or is_nan else value


def _unknown(name: str, known: set[str]) -> str:
    """The name, or with a number after it one that is not known."""
    number, found = 0, name
    while found in known:
        number += 1
        found = f"{name}-{number}"
    known.add(found)
    return found
