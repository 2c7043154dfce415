import numpy as np

from realm_tf.data.corpus.document_table import (
    candidate_blocks,
    hash_document_id,
    make_document_table,
)


def test_hash_never_changes():
    # `printf Emma | b2sum -l 64`: such hashes lie in every corpus folder.
    digest = bytes.fromhex("c93fdba1d0b9f6ba")
    assert hash_document_id("Emma") == int.from_bytes(digest, "little")
    assert hash_document_id("é") != hash_document_id("e")


def test_table_finds_the_blocks_of_every_document():
    names = [f"doc {i}" for i in range(100)]
    hashes = np.array([hash_document_id(name) for name in names], np.uint64)
    num_blocks = np.arange(1, 101)
    table = make_document_table(hashes, num_blocks)
    assert (table[0, 1:] > table[0, :-1]).all()
    start = 0
    for name, count in zip(names, num_blocks.tolist(), strict=True):
        assert candidate_blocks(table, name) == [range(start, start + count)]
        start += count
    assert candidate_blocks(table, "unknown") == []


def test_table_returns_all_documents_of_a_hash():
    value = np.uint64(hash_document_id("Emma"))
    table = make_document_table(
        np.array([value, 5, value], np.uint64), np.array([2, 1, 3])
    )
    assert candidate_blocks(table, "Emma") == [range(0, 2), range(3, 6)]
