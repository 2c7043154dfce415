"""A corpus that needs no text processing, and small clustered embeddings."""

import dataclasses

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.retrieval.index.block_index import BlockIndex

DIM = 8


@dataclasses.dataclass
class FakeCorpus:
    """What an index needs of a corpus: two blocks to a document."""

    num_blocks: int
    fingerprint: str = "corpus-a"
    tokenizer_fingerprint: str = "tokenizer-a"
    num_wordpieces: int = 100

    def blocks(self, block_ids):
        return [
            Block(
                text=f"text {i}",
                title=f"title {i // 2}",
                document_id=f"doc-{i // 2}",
                block_id=int(i),
            )
            for i in block_ids
        ]

    def __iter__(self):
        return iter(self.blocks(range(self.num_blocks)))

    def find_document(self, document_id):
        number = document_id.removeprefix("doc-")
        if not number.isdigit():
            return np.empty(0, np.int64)
        ids = np.arange(2 * int(number), 2 * int(number) + 2)
        return ids[ids < self.num_blocks]


@pytest.fixture(scope="session")
def make_corpus():
    return FakeCorpus


@pytest.fixture
def corpus():
    return FakeCorpus(20)


@pytest.fixture(scope="session")
def make_embeddings():
    def make(num_rows, dim=DIM, seed=0):
        generator = np.random.default_rng(seed)
        centers = generator.standard_normal((1 + num_rows // 50, dim))
        rows = centers[generator.integers(0, len(centers), num_rows)]
        rows = rows + 0.3 * generator.standard_normal((num_rows, dim))
        return rows.astype(np.float32)

    return make


@pytest.fixture
def make_blocks():
    """Blocks of one new document."""

    def make(document_id, count=1):
        return [
            Block(
                text=f"{document_id} block {i}",
                title=document_id,
                document_id=document_id,
                sentence_starts=(0, 3),
                article_starts=(0, 4),
            )
            for i in range(count)
        ]

    return make


@pytest.fixture
def build_index(tmp_path, corpus, make_embeddings):
    """Builds an index of the 20 blocks of `corpus`, by default."""

    def build(given=None, rows=None, *, path=None, **keywords):
        given = given or corpus
        if rows is None:
            rows = make_embeddings(given.num_blocks)
        keywords = {"embedder_fingerprint": "embedder-a", **keywords}
        return BlockIndex.build(
            path or tmp_path / "index", given, rows, **keywords
        )

    return build
