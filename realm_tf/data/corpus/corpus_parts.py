"""The steps of building a corpus that can be done apart from each other.

A part is a run of a few thousand articles, cut into blocks and tokenized, in
one file of the work folder. A part file is there whole or not at all.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realm_tf._files import OpenFile, remove_leftover, replacing
from realm_tf.data.corpus.articles import SourceArticle
from realm_tf.data.corpus.blocks import Block, TokenizedBlock, tokenize_articles
from realm_tf.data.corpus.document_table import hash_document_id
from realm_tf.data.corpus.formats.template_tally import TemplateTally
from realm_tf.errors import FolderError

if TYPE_CHECKING:
    from realm_tf.data.text.featurizer import Featurizer

# A part keeps a process busy for a fifth of a second and takes 150 MB of
# memory; parts four times as long take 400 MB and are no faster.
PART_CHARACTERS = 1_000_000
_TALLY = "templates"


class PartTask(NamedTuple):
    """What makes a part.

    Args:
        path: file the part is written to.
        articles: what goes in.
    """

    path: pathlib.Path
    articles: list[SourceArticle]


class PartCounts(NamedTuple):
    """How much a part holds.

    Args:
        num_articles: articles, those without a wordpiece counted.
        num_left_out: pages that no text could be made of.
        num_documents: articles with at least one block.
        num_blocks: blocks.
        num_cut_sentences: cuts within sentences that no block could hold.
    """

    num_articles: int
    num_left_out: int
    num_documents: int
    num_blocks: int
    num_cut_sentences: int = 0

    def plus(self, other: "PartCounts") -> "PartCounts":
        """Counts of both."""
        return PartCounts(*map(sum, zip(self, other, strict=True)))


def cut_into_parts(
    articles: Iterable[SourceArticle], folder: pathlib.Path
) -> Iterator[PartTask]:
    """Runs of articles; the same articles always give the same parts."""
    number = size = 0
    part: list[SourceArticle] = []
    for article in articles:
        part.append(article)
        size += len(article.article.text)
        if size >= PART_CHARACTERS:
            yield PartTask(folder / f"part-{number:06}.npz", part)
            number, size, part = number + 1, 0, []
    if part:
        yield PartTask(folder / f"part-{number:06}.npz", part)


def write_part(
    task: PartTask, featurizer: "Featurizer", max_wordpieces: int
) -> PartCounts:
    """Cuts articles into blocks and writes them to the part's file."""
    tally = TemplateTally()
    finished = [(source, source.finished(tally)) for source in task.articles]
    readable = [(s, article) for s, article in finished if article is not None]
    groups = tokenize_articles(
        [article for _, article in readable], featurizer, max_wordpieces
    )
    documents = [
        (source, blocks)
        for (source, _), blocks in zip(readable, groups, strict=True)
        if blocks
    ]
    counts = PartCounts(
        num_articles=len(readable),
        num_left_out=len(finished) - len(readable),
        num_documents=len(documents),
        num_blocks=sum(len(blocks) for _, blocks in documents),
        num_cut_sentences=sum(
            block.num_cut for _, blocks in documents for block in blocks
        ),
    )
    save_part(task.path, documents, counts, tally)
    return counts


def save_part(
    path: pathlib.Path,
    documents: Sequence[tuple[SourceArticle, list[TokenizedBlock]]],
    counts: PartCounts,
    tally: TemplateTally | None = None,
) -> None:
    """Writes the file of a part.

    Args:
        path: the file.
        documents: where each document came from, and its blocks.
        counts: what `read_counts` will return.
        tally: what `read_tally` will return.
    """
    blocks = [block for _, own in documents for block in own]
    arrays = _arrays(documents, blocks)
    arrays["counts"] = np.array(counts)
    arrays[_TALLY] = _bytes((tally or TemplateTally()).encoded())
    save_arrays(path, arrays)


def save_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a file that is there whole or not at all, for `read_part`."""
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_part(path: pathlib.Path, *names: str) -> dict[str, np.ndarray]:
    """Arrays of a finished part.

    Args:
        path: the file.
        names: of arrays; default: all.

    Raises:
        FolderError: if the file is damaged; the file is removed, so that the
            next run makes it again.
    """
    try:
        with OpenFile(path).reader() as file, np.load(file) as arrays:
            # The checksum of an array is compared when all of it is read.
            return {name: arrays[name] for name in names or arrays.files}
    except Exception as error:  # NumPy and zipfile raise those of ten types
        remove_leftover(path)
        raise FolderError(
            f"{path} must hold a part of the corpus. Received: "
            f"{type(error).__name__}: {error}. It was removed. Run the same "
            "command again to resume."
        ) from error


def read_counts(path: pathlib.Path) -> PartCounts | None:
    """Counts of a part that is whole; None if there is none."""
    try:
        arrays = read_part(path)
        counts = PartCounts(*arrays["counts"].tolist())
    except (FolderError, KeyError, TypeError):
        return None
    rows = {
        "records": counts.num_blocks,
        "title_ids": counts.num_blocks,
        "token_ids": counts.num_blocks,
        "locations": counts.num_documents,
    }
    is_whole = (
        all(
            f"{name}_splits" in arrays
            and len(arrays[f"{name}_splits"]) == count + 1
            and arrays[f"{name}_splits"][-1] == len(arrays.get(name, ()))
            for name, count in rows.items()
        )
        and {"document_hashes", "document_num_blocks", _TALLY} <= arrays.keys()
    )
    return counts if is_whole else None


def read_tally(paths: Iterable[pathlib.Path]) -> TemplateTally:
    """Counts of the templates of parts."""
    tally = TemplateTally()
    for path in paths:
        tally.add_encoded(read_part(path, _TALLY)[_TALLY].tobytes())
    return tally


def encode_block(block: Block) -> bytes:
    """A block as a record, without its block id, which is the record's place.

    Example:
    >>> decode_block(encode_block(Block("Emma.", "Emma", "1")), 7).block_id
    7
    """
    fields = {
        "document_id": block.document_id,
        "title": block.title,
        "text": block.text,
        "sentence_starts": block.sentence_starts,
        "article_starts": block.article_starts,
    }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def decode_block(record: bytes, block_id: int) -> Block:
    """The block that `encode_block` wrote."""
    fields = json.loads(record)
    for name in ("sentence_starts", "article_starts"):
        fields[name] = tuple(fields[name])
    return Block(block_id=block_id, **fields)


def _arrays(
    documents: Sequence[tuple[SourceArticle, list[TokenizedBlock]]],
    blocks: Sequence[TokenizedBlock],
) -> dict[str, np.ndarray]:
    ids = [source.article.document_id for source, _ in documents]
    lengths = [len(own) for _, own in documents]
    arrays = {
        "document_hashes": np.array([hash_document_id(i) for i in ids], "u8"),
        "document_num_blocks": np.array(lengths, np.int64),
    }
    ragged = {
        "records": [_bytes(encode_block(item.block)) for item in blocks],
        "title_ids": [item.title_ids for item in blocks],
        "token_ids": [item.token_ids for item in blocks],
        "locations": [
            # A name that is no UTF-8 is half surrogate pairs here.
            _bytes(
                f"{source.path}, line {source.line}".encode(
                    errors="backslashreplace"
                )
            )
            for source, _ in documents
        ],
    }
    for name, rows in ragged.items():
        arrays[name], arrays[f"{name}_splits"] = _flat(rows)
    return arrays


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _flat(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows one after the other, and where each begins."""
    splits = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=splits[1:])
    return np.concatenate(rows) if rows else np.zeros(0, np.uint8), splits
