"""Document ids to block ids, by binary search on the disk."""

import hashlib

import numpy as np


def hash_document_id(document_id: str) -> int:
    """64 bits that stand for a document id, the same on every machine."""
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def make_document_table(
    hashes: np.ndarray, num_blocks: np.ndarray
) -> np.ndarray:
    """Sorts documents by the hashes of their ids.

    Args:
        hashes: uint64 `(num_documents,)`, in the order of the blocks.
        num_blocks: integers `(num_documents,)`, blocks of each document.

    Returns:
        uint64 `(3, num_documents)`: hashes, ascending; first block ids; numbers
        of blocks. Equal hashes keep the order of their blocks.
    """
    first_blocks = np.cumsum(num_blocks) - num_blocks
    order = np.argsort(hashes, kind="stable")
    rows = (hashes, first_blocks, num_blocks)
    return np.stack([row.astype(np.uint64)[order] for row in rows])


def candidate_blocks(table: np.ndarray, document_id: str) -> list[range]:
    """Block ids of the documents whose id has the same hash.

    Args:
        table: see `make_document_table`; may lie on the disk.
        document_id: what to look for.

    Returns:
        list of ranges; almost always of none or one.
    """
    key = np.uint64(hash_document_id(document_id))
    first = np.searchsorted(table[0], key, side="left")
    last = np.searchsorted(table[0], key, side="right")
    return [
        range(int(start), int(start + count))
        for start, count in table[1:, first:last].T
    ]
