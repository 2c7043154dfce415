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

Documents = Corpus | str | os.PathLike[str] | Iterable[ArticleLike]
"""What `RealmQA.build_index` takes."""


def build_block_index(
    source: Documents,
    path: str | os.PathLike[str] | None,
    featurizer: Featurizer,
    embed: Callable[[Corpus], tuple[EmbeddingChunks, str]],
    **options: Any,
) -> BlockIndex:
    """Builds an index of a corpus or of articles; see `RealmQA.build_index`.

    Args:
        source: see `open_corpus`.
        path: the index folder, or None for one that is removed when nothing
            searches the index any more.
        featurizer: `Featurizer`, of the corpus of articles.
        embed: from the corpus to its embeddings and the fingerprint of what
            embedded it.
        **options: of `BlockIndex.build`.
    """
    corpus = open_corpus(source, path, featurizer)
    with contextlib.ExitStack() as temporary:
        path = path or _temporary_folder(temporary)
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


def open_corpus(
    source: Documents,
    path: str | os.PathLike[str] | None,
    featurizer: Featurizer,
) -> Corpus:
    """Opens a corpus, or builds one of documents beside their index.

    Args:
        source: see `RealmQA.build_index`.
        path: the index folder; or None for a corpus that is removed when
            nothing uses it any more.
        featurizer: `Featurizer`.
    """
    if isinstance(source, Corpus):
        return source
    with contextlib.ExitStack() as temporary:
        folder = pathlib.Path(path or _temporary_folder(temporary))
        corpus = as_corpus(source, folder / "corpus", featurizer)
        weakref.finalize(corpus, temporary.pop_all().close)
    return corpus


def _temporary_folder(stack: contextlib.ExitStack) -> str:
    path = tempfile.mkdtemp(prefix="realm_tf-")
    stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path
