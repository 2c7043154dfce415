import math

import numpy as np
import pytest

from realm_tf.data.corpus.article import as_article, as_articles, rows_of
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
        ({"_id": "a", "text": "c"}, Article("a", "", "c")),
        ({"id": np.int64(3), "text": "c"}, Article("3", "", "c")),
        ({"id": 3.0, "text": np.str_("c")}, Article("3", "", "c")),
        ({"id": None, "title": None, "text": "c"}, Article("7", "", "c")),
        (
            {"id": math.nan, "title": np.float64("nan"), "text": "c"},
            Article("7", "", "c"),
        ),
        ((None, "A text."), Article("7", "", "A text.")),
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
        {"text": math.nan},
        {"text": "a", "id": 1.5},
        {"text": "a", "id": True},
        Article("a", "b", None),
    ],
    ids=repr,
)
def test_something_else_is_no_article(given):
    with pytest.raises(TypeError, match="An article must be"):
        as_article(given)


class PandasFrame:
    """What `as_articles` uses of `pandas.DataFrame`."""

    def __init__(self, **columns):
        self._columns = {n: np.array(c, object) for n, c in columns.items()}
        self.columns = np.array(list(columns), object)

    def __getitem__(self, name):
        return self._columns[name]

    def __iter__(self):
        return iter(self.columns)

    def itertuples(self):
        return zip(*self._columns.values(), strict=True)


class PolarsFrame:
    """What `as_articles` uses of `polars.DataFrame`."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self._rows = list(zip(*columns.values(), strict=True))

    def iter_rows(self, *, named):
        assert named
        return (dict(zip(self.columns, r, strict=True)) for r in self._rows)


class ArrowTable(PolarsFrame):
    """What `as_articles` uses of `pyarrow.Table`, whose columns are data."""

    def __init__(self, **columns):
        super().__init__(**columns)
        self.column_names = self.columns
        self.columns = list(columns.values())
        self.to_pylist = lambda: [
            dict(zip(self.column_names, r, strict=True)) for r in self._rows
        ]

    iter_rows = property()


class Dataset(ArrowTable):
    """What `as_articles` uses of `datasets.Dataset`."""

    def __init__(self, **columns):
        super().__init__(**columns)
        self._dicts = self.to_pylist()
        del self.to_pylist

    def __iter__(self):
        return iter(self._dicts)


@pytest.mark.parametrize(
    "table", [PandasFrame, PolarsFrame, ArrowTable, Dataset]
)
def test_tables_are_read_by_the_names_of_their_columns(table):
    rows = table(other=[1, 2], title=["Emma", None], text=["a", "b"], id=[7, 8])
    assert as_articles(rows) == [
        Article("7", "Emma", "a"),
        Article("8", "", "b"),
    ]
    with pytest.raises(TypeError, match=r"column named text.*\['body'\]"):
        as_articles(table(body=["a"]))


def test_rows_without_an_id_are_numbered_without_collision():
    rows = [
        "a",
        {"id": 0, "text": "b"},
        {"text": "c"},
        {"id": "2", "text": "d"},
    ]
    ids = [article.document_id for article in as_articles(rows)]
    assert ids == ["0-1", "0", "2-1", "2"]
    assert [a.document_id for a in as_articles(["a", "b"])] == ["0", "1"]


def test_a_row_that_is_no_article_is_told_by_its_number():
    with pytest.raises(TypeError, match="'text': nan}? at row 1"):
        as_articles(["a", {"text": math.nan}])


def test_what_is_no_table_is_passed_through():
    for source in (["a"], {"text": "a"}, iter("a")):
        assert rows_of(source, "text") is source
