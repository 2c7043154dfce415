"""Finished parts to a corpus folder."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module

from realm_tf import _manifest
from realm_tf._files import write_npy_header
from realm_tf.data.corpus.corpus_parts import decode_block, read_part
from realm_tf.data.corpus.document_table import make_document_table

# 51 files for the 13,353,718 blocks of Wikipedia. It belongs to the format:
# `Corpus` finds a block's file by it.
BLOCKS_PER_SHARD = 2**18
# Records compressed together. Five random blocks are read in 0.16 ms with 8
# and 16, in 0.23 ms with 32; 1 makes the files half as large again.
_WRITER_OPTIONS = "group_size:16"


def write_corpus(
    path: pathlib.Path,
    parts: Sequence[pathlib.Path],
    *,
    token_dtype: type[np.integer],
    counts: dict[str, int],
    fingerprints: dict[str, str],
    options: dict[str, Any],
) -> None:
    """Writes the corpus folder that `Corpus` opens.

    Needs memory for one part and for the table of documents, 48 bytes each.

    Args:
        path: the folder; must not exist.
        parts: files of finished parts, in the order of their blocks.
        token_dtype: of the wordpieces on the disk.
        counts: see `Manifest`.
        fingerprints: see `Manifest`.
        options: see `Manifest`.

    Raises:
        ValueError: if two documents have the same id.
        OSError: if the disk is full.
    """
    table = _document_table(parts)
    with _manifest.write_folder(path, "corpus") as folder:
        _write_blocks(folder.path, parts, counts["num_blocks"])
        _write_ragged(
            folder.path, "token_ids", "row_splits", parts, token_dtype
        )
        _write_ragged(
            folder.path, "title_ids", "title_row_splits", parts, token_dtype
        )
        np.save(folder.path / "documents.npy", table, allow_pickle=False)
        folder.describe(
            counts=counts, fingerprints=fingerprints, options=options
        )


def shard_name(shard: int, num_blocks: int) -> str:
    """Name of the file of blocks `BLOCKS_PER_SHARD * shard` and following.

    Example:
    >>> shard_name(0, num_blocks=1)
    'blocks-00000-of-00001.array_record'
    """
    num_shards = -(-num_blocks // BLOCKS_PER_SHARD)
    return f"blocks-{shard:05}-of-{num_shards:05}.array_record"


def _document_table(parts: Sequence[pathlib.Path]) -> np.ndarray:
    hashes = np.concatenate(list(_read(parts, "document_hashes")))
    num_blocks = np.concatenate(list(_read(parts, "document_num_blocks")))
    table = make_document_table(hashes, num_blocks)
    for i in np.flatnonzero(table[0, 1:] == table[0, :-1]).tolist():
        same = [_find_document(parts, int(table[1, j])) for j in (i, i + 1)]
        if same[0][0] == same[1][0]:
            raise ValueError(
                "Document ids must not repeat. Received: "
                f"{same[0][0]!r} in {same[0][1]}, and in {same[1][1]}. Give "
                "one of them another id, or leave the ids out."
            )
    return table


def _find_document(
    parts: Sequence[pathlib.Path], first_block: int
) -> tuple[str, str]:
    """Id and origin of the document that begins with a block."""
    for path in parts:
        part = read_part(path)
        starts = np.cumsum(part["document_num_blocks"])
        num_blocks = int(starts[-1]) if len(starts) else 0
        if first_block < num_blocks:
            document = int(np.searchsorted(starts, first_block, "right"))
            record = _row(part, "records", first_block)
            location = _row(part, "locations", document).decode()
            return decode_block(record, first_block).document_id, location
        first_block -= num_blocks
    raise IndexError(first_block)


def _write_blocks(
    folder: pathlib.Path, parts: Sequence[pathlib.Path], num_blocks: int
) -> None:
    records = _records(parts)
    for shard, first in enumerate(range(0, num_blocks, BLOCKS_PER_SHARD)):
        writer = array_record_module.ArrayRecordWriter(
            str(folder / shard_name(shard, num_blocks)), _WRITER_OPTIONS
        )
        for _ in range(first, min(first + BLOCKS_PER_SHARD, num_blocks)):
            writer.write(next(records))
        writer.close()


def _write_ragged(
    folder: pathlib.Path,
    values_name: str,
    splits_name: str,
    parts: Sequence[pathlib.Path],
    dtype: type[np.integer],
) -> None:
    """Joins ragged arrays, part by part, as two `.npy` files."""
    sizes = [
        (int(splits[-1]), len(splits) - 1)
        for splits in _read(parts, f"{values_name}_splits")
    ]
    num_values, num_rows = np.sum(sizes, axis=0).tolist()

    def joined_splits() -> Iterator[np.ndarray]:
        yield np.zeros(1, np.int64)
        offset = 0
        for splits in _read(parts, f"{values_name}_splits"):
            yield splits[1:] + offset
            offset += splits[-1]

    values = _read(parts, values_name)
    _write_npy(folder / f"{values_name}.npy", num_values, dtype, values)
    _write_npy(
        folder / f"{splits_name}.npy", num_rows + 1, np.int64, joined_splits()
    )


def _write_npy(
    path: pathlib.Path,
    length: int,
    dtype: type[np.integer],
    pieces: Iterator[np.ndarray],
) -> None:
    with open(path, "wb") as file:
        write_npy_header(file, dtype, (length,))
        for piece in pieces:
            file.write(piece.astype(dtype).tobytes())


def _records(parts: Sequence[pathlib.Path]) -> Iterator[bytes]:
    splits = _read(parts, "records_splits")
    for data, places in zip(_read(parts, "records"), splits, strict=True):
        text = data.tobytes()
        for start, end in zip(places, places[1:], strict=False):
            yield text[start:end]


def _read(parts: Sequence[pathlib.Path], name: str) -> Iterator[np.ndarray]:
    for path in parts:
        yield read_part(path, name)[name]


def _row(part: Any, name: str, i: int) -> bytes:
    start, end = part[f"{name}_splits"][i : i + 2]
    return part[name][start:end].tobytes()
