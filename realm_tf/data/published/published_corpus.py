"""Blocks that were cut by others -> a corpus folder."""

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus.articles import SourceArticle
from realm_tf.data.corpus.blocks import Article, Block, TokenizedBlock
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import token_dtype
from realm_tf.data.corpus.corpus_parts import PartCounts, read_counts, save_part
from realm_tf.data.corpus.corpus_writer import write_corpus
from realm_tf.data.corpus.work_folder import open_work_folder
from realm_tf.data.published.published_blocks import BlockRecord, BlockRecords
from realm_tf.data.text.sentences import byte_offsets, split_sentences

if TYPE_CHECKING:
    from realm_tf.data.text.featurizer import Featurizer

_BLOCKS_OF_A_PART = 2048

Document = list[tuple[int, BlockRecord]]


def build_block_corpus(
    records: BlockRecords,
    path: str | os.PathLike[str],
    featurizer: "Featurizer",
    *,
    num_blocks: int | None = None,
    progress: Progress = no_progress,
) -> Corpus:
    """Builds a corpus of blocks that are cut already, in their order.

    Block i of the corpus is record i. Blocks in a row with the same title are
    a document; without titles every block is one. The same call
    resumes a killed build.

    Args:
        records: `BlockRecords`.
        path: the folder to write; must not exist.
        featurizer: its tokenizer makes the wordpieces.
        num_blocks: how many there must be, such as rows of their embeddings.
        progress: see `Progress`; its stage is "corpus", its units are blocks.

    Returns:
        `Corpus`.

    Raises:
        FolderError: if `path` exists.
        ValueError: if there are more or fewer than `num_blocks`, or a record
            is damaged.
    """
    path = pathlib.Path(os.path.realpath(path))
    if num_blocks is not None and records.num_records is not None:
        _check_count(records, records.num_records, num_blocks)
    plan = {
        "records": [
            [str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns]
            for p in records.paths
        ],
        "tokenizer": featurizer.fingerprint,
    }
    totals = PartCounts(0, 0, 0, 0)
    parts = []
    with open_work_folder(path, plan) as work:
        for number, documents in enumerate(_parts(records)):
            part = work / f"part-{number:06}.npz"
            counts = read_counts(part)
            if counts is None:
                _save(part, documents, records, featurizer)
                counts = read_counts(part)
                assert counts is not None
            parts.append(part)
            sums = zip(totals, counts, strict=True)
            totals = PartCounts(*map(sum, sums))
            progress("corpus", totals.num_blocks, num_blocks or 0, {})
        _check_count(records, totals.num_blocks, num_blocks)
        write_corpus(
            path,
            parts,
            token_dtype=token_dtype(featurizer.vocabulary_size),
            counts={
                "num_blocks": totals.num_blocks,
                "num_documents": totals.num_documents,
                "num_articles": totals.num_articles,
            },
            fingerprints={"tokenizer": featurizer.fingerprint},
            options={"records": [p.name for p in records.paths]},
        )
    return Corpus.open(path, verify=False)


def _check_count(
    records: BlockRecords, found: int, expected: int | None
) -> None:
    if found == 0 or expected not in (None, found):
        raise ValueError(
            "Blocks and embeddings must be as many. Received: "
            f"{found:,} blocks in {records.paths[0]}, "
            f"{expected if expected is None else f'{expected:,}'} embeddings. "
            "Take both from the same release; a file that is cut off between "
            "two records shows no other sign."
        )


def _documents(records: BlockRecords) -> Iterator[Document]:
    document: Document = []
    for row, record in enumerate(records):
        is_same = document and record.title == document[-1][1].title
        if document and not (is_same and records.has_titles):
            yield document
            document = []
        document.append((row, record))
    if document:
        yield document


def _parts(records: BlockRecords) -> Iterator[list[Document]]:
    part: list[Document] = []
    size = 0
    for document in _documents(records):
        part.append(document)
        size += len(document)
        if size >= _BLOCKS_OF_A_PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def _save(
    path: pathlib.Path,
    documents: list[Document],
    records: BlockRecords,
    featurizer: "Featurizer",
) -> None:
    rows = [record for document in documents for _, record in document]
    titles = featurizer.tokenize([record.title for record in rows])
    texts = featurizer.tokenize([record.text for record in rows])
    tokenized = []
    place = 0
    for document in documents:
        name = str(document[0][0])
        source = SourceArticle(
            Article(name, document[0][1].title, ""),
            str(records.paths[0]),
            document[0][0],
        )
        blocks = []
        offset = 0  # of the block in the text of the document
        for _, record in document:
            ids, starts, _ = texts.row(place)
            sentences = _sentence_starts(record, starts.tolist())
            block = Block(
                text=record.text,
                title=record.title,
                document_id=name,
                sentence_starts=sentences,
                article_starts=tuple(offset + start for start in sentences),
            )
            title_ids, _, _ = titles.row(place)
            blocks.append(TokenizedBlock(block, title_ids, ids))
            offset += len(record.text.encode()) + 1
            place += 1
        tokenized.append((source, blocks))
    counts = PartCounts(len(documents), 0, len(documents), len(rows))
    save_part(path, tokenized, counts)


def _sentence_starts(record: BlockRecord, starts: list[int]) -> tuple[int, ...]:
    """Byte where each sentence begins.

    The source counts wordpieces. Where its tokenizer made as many of them as
    ours they are the same ones; elsewhere the sentences are found anew.
    """
    places = record.sentence_tokens
    if record.num_tokens == len(starts) and places:
        if places[0] == 0 and all(0 <= p < len(starts) for p in places):
            return (0, *(starts[p] for p in places[1:]))
    spans = split_sentences(record.text)
    return tuple(byte_offsets(record.text, [s for s, _ in spans])) or (0,)
