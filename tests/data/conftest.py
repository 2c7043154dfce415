import gzip
import json
import pathlib

import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus

TEXT = (
    "Emma is a novel by Jane Austen. It is about a young woman of 21 years. "
    "She lives in the south of England. The first book came out in 1815."
)


@pytest.fixture
def articles() -> list[Article]:
    """Articles of two or three blocks each at 32 wordpieces a block."""
    return [Article(f"doc-{i}", f"Emma {i}", TEXT) for i in range(20)]


@pytest.fixture
def articles_file(articles, tmp_path) -> pathlib.Path:
    """The same articles as compressed JSON lines."""
    path = tmp_path / "articles.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for article in articles:
            record = {
                "id": article.document_id,
                "title": article.title,
                "text": article.text,
            }
            file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def corpus(articles, featurizer, tmp_path) -> Corpus:
    """A corpus of the articles."""
    return build_corpus(
        articles, tmp_path / "corpus", featurizer, max_wordpieces=32
    )
