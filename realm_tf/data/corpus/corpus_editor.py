"""A corpus and its changes to a new corpus folder."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.articles import SourceArticle
from realm_tf.data.corpus.blocks import Article, Block, TokenizedBlock
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_parts import PartCounts
from realm_tf.data.corpus.corpus_writer import write_corpus
from realm_tf.data.corpus.work_folder import open_work_folder
from realm_tf.errors import MismatchError

if TYPE_CHECKING:  # spares searching the import of TensorFlow
    from realm_tf.data.text.featurizer import Featurizer

_BLOCKS_AT_ONCE = 1_024


def edit_corpus(
    corpus: Corpus,
    path: str | os.PathLike[str],
    featurizer: "Featurizer",
    *,
    deleted: Iterable[int],
    added: Sequence[Block],
) -> Corpus:
    """Writes a corpus folder without some blocks and with others.

    The blocks that stay keep their order, and the added ones follow; they get
    new ids without gaps. Needs memory for a few thousand articles.

    Args:
        corpus: where the blocks that stay come from; does not change.
        path: the folder to write; must not exist.
        featurizer: must have the tokenizer of `corpus`.
        deleted: ids of blocks to drop; of a document all or none.
        added: blocks to add, those of a document together, of documents that
            are not in `corpus` or are deleted.

    Returns:
        `Corpus`, of `path`.

    Raises:
        FolderError: if `path` exists.
        MismatchError: if `featurizer` has another tokenizer.
        ValueError: if no block would be left, or a document would be there
            twice.
        OSError: if the disk is full.
    """
    if featurizer.fingerprint != corpus.tokenizer_fingerprint:
        raise MismatchError(
            "`featurizer` must have the tokenizer that made the corpus. "
            f"Received: featurizer fingerprint={featurizer.fingerprint[:16]}, "
            f"corpus={corpus.tokenizer_fingerprint[:16]}. Load the featurizer "
            "with the vocabulary of the corpus."
        )
    path = pathlib.Path(path)
    blocks = itertools.chain(
        _kept(corpus, frozenset(deleted)), _tokenized(added, featurizer)
    )
    parts: list[pathlib.Path] = []
    num_documents = num_blocks = 0
    with open_work_folder(path, None) as work:
        for documents in _cut_into_parts(blocks, str(corpus.path)):
            counts = PartCounts(
                num_articles=len(documents),
                num_left_out=0,
                num_documents=len(documents),
                num_blocks=sum(len(own) for _, own in documents),
            )
            parts.append(work / f"part-{len(parts):06}.npz")
            corpus_parts.save_part(parts[-1], documents, counts)
            num_documents += counts.num_documents
            num_blocks += counts.num_blocks
        if not num_blocks:
            raise ValueError(
                "A corpus must keep at least one block. Received: "
                f"{corpus.num_blocks} blocks, all deleted, and none added."
            )
        write_corpus(
            path,
            parts,
            token_dtype=corpus.token_ids(0).dtype.type,
            counts={
                **corpus.manifest.counts,
                "num_blocks": num_blocks,
                "num_documents": num_documents,
                "num_articles": num_documents,
            },
            fingerprints={"tokenizer": featurizer.fingerprint},
            options=corpus.manifest.options,
        )
    return Corpus.open(path, verify=False)


def _kept(corpus: Corpus, deleted: frozenset[int]) -> Iterator[TokenizedBlock]:
    for start in range(0, corpus.num_blocks, _BLOCKS_AT_ONCE):
        stop = min(start + _BLOCKS_AT_ONCE, corpus.num_blocks)
        kept = [i for i in range(start, stop) if i not in deleted]
        for block in corpus.blocks(kept):
            yield TokenizedBlock(
                block,
                corpus.title_ids(block.block_id),
                corpus.token_ids(block.block_id),
            )


def _tokenized(
    blocks: Sequence[Block], featurizer: "Featurizer"
) -> Iterator[TokenizedBlock]:
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        some = blocks[start : start + _BLOCKS_AT_ONCE]
        ids, _, _, row_splits = featurizer.tokenize(
            [text for block in some for text in (block.title, block.text)]
        )
        rows = np.split(ids, row_splits[1:-1])
        for block, title, text in zip(some, rows[::2], rows[1::2], strict=True):
            yield TokenizedBlock(block, title, text)


def _cut_into_parts(
    blocks: Iterable[TokenizedBlock], origin: str
) -> Iterator[list[tuple[SourceArticle, list[TokenizedBlock]]]]:
    """Whole documents, as many as make a part."""
    part: list[tuple[SourceArticle, list[TokenizedBlock]]] = []
    size = 0
    for document_id, group in itertools.groupby(
        blocks, key=lambda item: item.block.document_id
    ):
        own = list(group)
        part.append(
            (SourceArticle(Article(document_id, "", ""), origin, 0), own)
        )
        size += sum(len(item.block.text) for item in own)
        if size >= corpus_parts.PART_CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part
