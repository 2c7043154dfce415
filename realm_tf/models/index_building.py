"""From documents to an index, in a folder of the user's or a temporary one."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from realm_tf.data.corpus.article import ArticleLike
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.documents import as_corpus
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.index_builder import EmbeddingChunks


def build_block_index(
    source: Corpus | str | os.PathLike[str] | Iterable[ArticleLike],
    path: str | os.PathLike[str] | None,
    featurizer: Featurizer,
    embed: Callable[[Corpus], tuple[EmbeddingChunks, str]],
    **options: Any,
) -> BlockIndex:
    """Builds an index of a corpus or of articles; see `RealmQA.build_index`.

    Args:
        source: `Corpus`, path of one, or articles, which become one.
        path: the index folder, or None for one that is removed when nothing
            searches the index any more.
        featurizer: `Featurizer`, of the corpus of articles.
        embed: from the corpus to its embeddings and the fingerprint of what
            embedded it.
        **options: of `BlockIndex.build`.
    """
    with contextlib.ExitStack() as temporary:
        if path is None:
            path = tempfile.mkdtemp(prefix="realm_tf-")
            temporary.callback(shutil.rmtree, path, ignore_errors=True)
        corpus = as_corpus(source, pathlib.Path(path) / "corpus", featurizer)
        embeddings, fingerprint = embed(corpus)
        index = BlockIndex.build(
            path,
            corpus,
            embeddings,
            embedder_fingerprint=fingerprint,
            **options,
        )
        weakref.finalize(index, temporary.pop_all().close)
    return index
