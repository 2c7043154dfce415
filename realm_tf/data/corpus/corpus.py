"""Reading a corpus folder."""

import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module

from realm_tf._files import OpenFile, open_npy
from realm_tf._manifest import MANIFEST_NAME, OpenFolder, open_folder
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus_parts import decode_block
from realm_tf.data.corpus.corpus_writer import BLOCKS_PER_SHARD, shard_name
from realm_tf.data.corpus.document_table import candidate_blocks
from realm_tf.errors import FolderError

_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_BLOCKS_AT_ONCE = 1_024

_ADVICE = "Copy the folder again, or rebuild it."


class Corpus:
    """Blocks of text on the disk, with their wordpieces.

    Opening opens all files once: blocks are read when they are asked for, and
    large arrays stay on the disk. Another corpus may take the place of the
    folder meanwhile; a file that is written into is noticed at the next use.
    All methods can be called from several threads. Written by `build_corpus`,
    opened by `Corpus.open`.

    Attributes:
        path: the folder.
        manifest: `Manifest`.
        fingerprint: SHA-256 of the content.
        tokenizer_fingerprint: of the `Featurizer` that made the wordpieces.
        num_blocks: number of blocks; their ids count from 0.

    Example:
    >>> import tempfile
    >>> from realm_tf.data.corpus.blocks import Article
    >>> from realm_tf.data.corpus.corpus_builder import build_corpus
    >>> from realm_tf.data.text.featurizer import Featurizer
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma"]
    >>> folder = tempfile.mkdtemp() + "/corpus"
    >>> article = Article("12", "Emma", "Emma is a novel.")
    >>> _ = build_corpus([article], folder, Featurizer(words))
    >>> corpus = Corpus.open(folder)
    >>> corpus.find_document("12").tolist(), corpus.token_ids(0).tolist()
    ([0], [5, 1, 1, 1, 1])
    """

    def __init__(self, folder: OpenFolder):
        self.path = folder.path
        self.manifest = manifest = folder.manifest
        self._files = folder.files
        self.fingerprint = manifest.fingerprint
        self.tokenizer_fingerprint = manifest.fingerprints.get("tokenizer", "")
        self.num_blocks = manifest.counts.get("num_blocks", 0)
        rows = self.num_blocks + 1
        self._row_splits = self._load("row_splits", "<i8", rows)
        self._title_row_splits = self._load("title_row_splits", "<i8", rows)
        self._token_ids = self._load(
            "token_ids", "<u2 <u4", int(self._row_splits[-1])
        )
        self._title_ids = self._load(
            "title_ids", "<u2 <u4", int(self._title_row_splits[-1])
        )
        self._documents = self._load(
            "documents", "<u8", 3, manifest.counts.get("num_documents", 0)
        )
        for shard in range(-(-self.num_blocks // BLOCKS_PER_SHARD)):
            self._listed(shard_name(shard, self.num_blocks))
        self._readers: dict[int, array_record_module.ArrayRecordReader] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, verify: bool = True
    ) -> "Corpus":
        """Opens a corpus folder.

        Args:
            path: the folder.
            verify: read every file once and compare its SHA-256 with the
                manifest, not its size only.

        Returns:
            `Corpus`.

        Raises:
            FolderError: naming the file that is missing or damaged.
        """
        return cls(open_folder(path, "corpus", verify=verify))

    def __len__(self) -> int:
        return self.num_blocks

    def __iter__(self) -> Iterator[Block]:
        for start in range(0, self.num_blocks, _BLOCKS_AT_ONCE):
            stop = min(start + _BLOCKS_AT_ONCE, self.num_blocks)
            yield from self.blocks(range(start, stop))

    def __getitem__(self, block_id: int) -> Block:
        return self.blocks([block_id])[0]

    @property
    def num_wordpieces(self) -> int:
        """Number of wordpieces of all blocks, titles not counted."""
        return int(self._row_splits[-1])

    def blocks(self, block_ids: Sequence[int] | np.ndarray) -> list[Block]:
        """Reads blocks.

        Args:
            block_ids: integers `(n,)`, in any order; may repeat.

        Returns:
            list of n `Block`, in the order of `block_ids`.

        Raises:
            IndexError: if there is no such block.
        """
        ids = np.asarray(block_ids, np.int64)
        self._check_ids(ids)
        shards = ids // BLOCKS_PER_SHARD
        blocks: list[Any] = [None] * len(ids)
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard).tolist()
            own = ids[places].tolist()
            records = self._read(shard, own)
            for place, block_id, record in zip(
                places, own, records, strict=True
            ):
                blocks[place] = decode_block(record, block_id)
        return blocks

    def token_ids(self, block_id: int) -> np.ndarray:
        """Wordpieces of a block's text, without special tokens."""
        return self._row("token_ids", self._token_ids, block_id)

    def title_ids(self, block_id: int) -> np.ndarray:
        """Wordpieces of a block's title, without special tokens."""
        return self._row("title_ids", self._title_ids, block_id)

    def find_document(self, document_id: str) -> np.ndarray:
        """Block ids of a document, ascending, int64; none if it is unknown."""
        self._files["documents.npy"].check_unchanged()
        for block_ids in candidate_blocks(self._documents, document_id):
            if not 0 <= block_ids.start < block_ids.stop <= self.num_blocks:
                raise self._damaged(
                    self._files["documents.npy"].path,
                    f"documents of blocks 0 to {self.num_blocks - 1}",
                    f"one of {block_ids.start} to {block_ids.stop - 1}",
                )
            if self[block_ids[0]].document_id == document_id:
                return np.array(block_ids, np.int64)
        return np.zeros(0, np.int64)

    def _row(self, name: str, values: np.ndarray, block_id: int) -> np.ndarray:
        self._check_ids(np.asarray([block_id]))
        is_title = name == "title_ids"
        splits = self._title_row_splits if is_title else self._row_splits
        for file in (name, "title_row_splits" if is_title else "row_splits"):
            self._files[f"{file}.npy"].check_unchanged()
        return values[splits[block_id] : splits[block_id + 1]]

    def _check_ids(self, ids: np.ndarray) -> None:
        bad = ids[(ids < 0) | (ids >= self.num_blocks)]
        if len(bad):
            raise IndexError(
                f"Block ids must be from 0 to {self.num_blocks - 1}. Received: "
                f"block_id={bad[0]}. Leave missing results (-1) out."
            )

    def _read(self, shard: int, block_ids: list[int]) -> list[bytes]:
        file = self._files[shard_name(shard, self.num_blocks)]
        first = shard * BLOCKS_PER_SHARD
        try:
            with self._lock:
                if shard not in self._readers:
                    self._readers[shard] = self._open_shard(file)
                reader = self._readers[shard]
            records = reader.read([block_id - first for block_id in block_ids])
        except (RuntimeError, ValueError) as error:
            file.check_unchanged()
            raise self._damaged(file.path, "blocks", str(error)) from error
        file.check_unchanged()
        return records

    @staticmethod
    def _open_shard(file: OpenFile) -> array_record_module.ArrayRecordReader:
        with file.name() as name:
            return array_record_module.ArrayRecordReader(name, _READER_OPTIONS)

    def _load(self, name: str, dtypes: str, *shape: int) -> np.ndarray:
        file = self._listed(f"{name}.npy")
        return open_npy(file, dtypes, shape, _ADVICE)

    def _listed(self, name: str) -> OpenFile:
        if name not in self._files:
            raise self._damaged(self.path / MANIFEST_NAME, name, "no such file")
        return self._files[name]

    def _damaged(
        self, path: pathlib.Path, expected: str, found: str
    ) -> FolderError:
        return FolderError(
            f"{path} must hold what a corpus needs. Expected: {expected}. "
            f"Received: {found}. {_ADVICE}"
        )
