"""BlockUpdates: documents added to and deleted from an index version."""

import dataclasses
import itertools
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.blocks import Block
from realm_tf.errors import UnknownDocumentError
from realm_tf.retrieval.index.journal import Journal, Place
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import (
    CHUNK_ROWS,
    EmbeddingMatrix,
    bad_rows,
    bad_rows_error,
    row_norms,
)
from realm_tf.retrieval.searchers.searcher import SearchResult

if TYPE_CHECKING:
    from realm_tf.data.corpus.corpus import Corpus

_LENGTH = struct.Struct("<I")
_NO_IDS = np.empty(0, np.int64)


@dataclasses.dataclass(frozen=True)
class UpdatesSnapshot:
    """State of the updates at one moment; never changes.

    Args:
        first_id: block id of the first added block.
        matrix: embeddings of the added blocks, in the order of their ids.
        deleted: ids of deleted blocks, ascending; corpus and added blocks.
    """

    first_id: int
    matrix: EmbeddingMatrix
    deleted: npt.NDArray[np.int64]

    @property
    def deleted_from_corpus(self) -> npt.NDArray[np.int64]:
        """Ids of deleted blocks of the corpus."""
        return self.deleted[: np.searchsorted(self.deleted, self.first_id)]

    @property
    def deleted_rows(self) -> npt.NDArray[np.int64]:
        """Rows of `matrix` whose blocks are deleted."""
        start = np.searchsorted(self.deleted, self.first_id)
        return self.deleted[start:] - self.first_id

    @property
    def live_rows(self) -> npt.NDArray[np.int64]:
        """Rows of `matrix` whose blocks are not deleted, ascending."""
        return np.setdiff1d(np.arange(self.matrix.num_rows), self.deleted_rows)

    def search(self, queries: npt.ArrayLike, k: int) -> SearchResult:
        """Searches the added blocks; see `BlockIndex.search`."""
        result = BruteForceSearcher(self.matrix).search(
            queries, k, excluded=self.deleted_rows
        )
        found = result.block_ids != MISSING_BLOCK_ID
        result.block_ids[found] += self.first_id
        return result

    def live_embeddings(
        self, main: EmbeddingMatrix
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yields the embeddings of all blocks that are not deleted, in order.

        Args:
            main: embeddings of the corpus.
        """
        for first, rows in main.chunks():
            ids = np.arange(first, first + len(rows))
            yield rows[~np.isin(ids, self.deleted_from_corpus)]
        live = self.live_rows
        for start in range(0, len(live), CHUNK_ROWS):
            yield self.matrix.rows(live[start : start + CHUNK_ROWS])


@dataclasses.dataclass(frozen=True)
class _State:
    """What the journal says up to a place; never changes.

    Args:
        place: how much of the journal was read.
        snapshot: what searches see.
        blocks: added blocks, deleted ones too.
        rows: rows of the blocks of each added document that exists.
    """

    place: Place
    snapshot: UpdatesSnapshot
    blocks: list[Block]
    rows: dict[str, npt.NDArray[np.int64]]


class BlockUpdates:
    """Documents added and deleted since an index version was built.

    A document is replaced as a whole: adding blocks of a `document_id` deletes
    the blocks it had. Added blocks get the ids that follow the corpus's; an id
    is never used again, so what a search found can always be looked up.

    The journal is the truth. An update is written there and then read from
    there; a new state is made apart and put in place at once. So an interrupt
    or a failing disk cannot leave another state in memory than on the disk:
    the next use compares them.

    One thread may update while others read: they see the state before or after
    an update, as a whole.

    Args:
        path: journal file, see `Journal`.
        corpus: `Corpus` of the index version.
        dim: width of the embeddings.
        dtype: "float32" or "bfloat16": what embeddings are rounded to, so that
            scores do not change when the updates are folded into the index.
        belongs_to: fingerprint of the index version.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        corpus: "Corpus",
        *,
        dim: int,
        dtype: str,
        belongs_to: str,
    ):
        self._corpus = corpus
        self._dtype = dtype
        self._journal = Journal(path, belongs_to)
        self._buffer = np.empty((0, dim), np.float32)  # grows by doubling
        self._lock = threading.Lock()
        snapshot = UpdatesSnapshot(
            corpus.num_blocks,
            EmbeddingMatrix([self._buffer], dim=dim, max_norm=0.0),
            _NO_IDS,
        )
        self._state = _State(Place(), snapshot, [], {})
        self.catch_up()

    @property
    def snapshot(self) -> UpdatesSnapshot:
        """The current state, as of the last look at the journal."""
        return self._state.snapshot

    @property
    def blocks(self) -> Sequence[Block]:
        """Added blocks, deleted ones too; block ids follow the corpus's."""
        return self._state.blocks

    @property
    def num_records(self) -> int:
        """Records of the journal that the current state holds."""
        return self._state.place.num_records

    @property
    def is_empty(self) -> bool:
        """Whether the version has no updates."""
        return not self.blocks and not len(self.snapshot.deleted)

    def has_document(self, document_id: str) -> bool:
        """Whether a document of the corpus, or an added one, exists."""
        return len(self._ids(document_id, self._state)) > 0

    def catch_up(self) -> None:
        """Applies new updates, of this process and of others."""
        with self._lock:
            self._catch_up()

    def follow(self) -> UpdatesSnapshot:
        """The current state, as the journal says it.

        Costs a microsecond where nothing is new, and never waits for an update
        that is being written.
        """
        if self._journal.has_news(self._state.place):
            if self._lock.acquire(blocking=False):
                try:
                    self._catch_up()
                finally:
                    self._lock.release()
        return self.snapshot

    def add(
        self, blocks: Sequence[Block], embeddings: npt.ArrayLike
    ) -> npt.NDArray[np.int64]:
        """Adds or replaces documents; returns the new block ids.

        See `BlockIndex.add`. The caller holds the writer lock.
        """
        embeddings = self._checked(blocks, embeddings)
        with self._lock:
            self._catch_up()
            first = self.snapshot.first_id + len(self.blocks)
            if blocks:
                documents = sorted(set(_document_ids(blocks)))
                self._journal.append(_encode(documents, blocks, embeddings))
                self._catch_up()
        return np.arange(first, first + len(blocks))

    def delete(self, document_ids: Iterable[str]) -> None:
        """Deletes documents; see `BlockIndex.delete`.

        The caller holds the writer lock.
        """
        documents = sorted(set(document_ids))
        with self._lock:
            self._catch_up()
            state = self._state
            unknown = [d for d in documents if not len(self._ids(d, state))]
            if unknown:
                raise UnknownDocumentError(
                    "`document_ids` must exist in the index. Received: unknown "
                    f"{unknown[:5]}, {len(unknown)} of {len(documents)}. "
                    "Nothing was deleted."
                )
            if documents:
                nothing = np.empty((0, self.snapshot.matrix.dim), np.float32)
                self._journal.append(_encode(documents, [], nothing))
                self._catch_up()

    def _checked(
        self, blocks: Sequence[Block], embeddings: npt.ArrayLike
    ) -> npt.NDArray[np.float32]:
        shape = (len(blocks), self.snapshot.matrix.dim)
        array = np.asarray(embeddings, np.float32)
        if array.shape != shape:
            raise ValueError(
                "`embeddings` must have one row for each of `blocks`. "
                f"Expected: shape={shape}. Received: shape={array.shape}."
            )
        nameless = [
            n for n, block in enumerate(blocks) if not block.document_id
        ]
        if nameless:
            raise ValueError(
                "`blocks` must have a `document_id`, by which they can be "
                f"replaced and deleted. Received: blocks {nameless[:5]} "
                "without one."
            )
        runs = [name for name, _ in itertools.groupby(_document_ids(blocks))]
        if len(runs) != len(set(runs)):
            raise ValueError(
                "`blocks` of one document must follow each other. Received: "
                f"documents in the order {runs[:10]}. Sort the blocks."
            )
        return _stored(array, self._dtype)

    def _catch_up(self) -> None:
        old = self._state
        records, place = self._journal.read(old.place)
        if not records:
            return
        # Read by nobody until it is in place.
        state = dataclasses.replace(
            old, place=place, blocks=old.blocks.copy(), rows=old.rows.copy()
        )
        for payload in records:
            update = _decode(payload, old.snapshot.matrix.dim)
            snapshot = self._apply(state, *update)
            state = dataclasses.replace(state, snapshot=snapshot)
        self._state = state

    def _apply(
        self,
        state: _State,
        documents: Sequence[str],
        blocks: Sequence[Block],
        embeddings: npt.NDArray[np.float32],
    ) -> UpdatesSnapshot:
        """Deletes `documents`, then adds `blocks`; returns the next snapshot.

        Changes the other fields of `state`, which must be new.
        """
        old = state.snapshot
        gone = [self._ids(document, state) for document in documents]
        for document in documents:
            state.rows.pop(document, None)
        first = len(state.blocks)
        for row, block in enumerate(blocks, first):
            rows = state.rows.get(block.document_id, _NO_IDS)
            state.rows[block.document_id] = np.append(rows, row)
            state.blocks.append(
                dataclasses.replace(block, block_id=old.first_id + row)
            )
        max_norm = max(
            old.matrix.max_norm, float(row_norms(embeddings).max(initial=0.0))
        )
        matrix = EmbeddingMatrix(
            [self._grown(first, embeddings)],
            dim=old.matrix.dim,
            max_norm=max_norm,
        )
        deleted = _insert(old.deleted, np.sort(np.concatenate(gone)))
        return UpdatesSnapshot(old.first_id, matrix, deleted)

    def _ids(self, document_id: str, state: _State) -> npt.NDArray[np.int64]:
        """Ids of a document's blocks that are not deleted."""
        deleted = state.snapshot.deleted_from_corpus
        ids = np.asarray(self._corpus.find_document(document_id), np.int64)
        ids = ids[~np.isin(ids, deleted)]
        rows = state.rows.get(document_id, _NO_IDS)
        return np.concatenate([ids, rows + state.snapshot.first_id])

    def _grown(
        self, count: int, rows: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The first `count` rows and `rows` behind them.

        Snapshots share the buffer: rows they can see are never written again.
        """
        end = count + len(rows)
        if end > len(self._buffer):
            grown = np.empty((2 * end, self._buffer.shape[1]), np.float32)
            grown[:count] = self._buffer[:count]
            self._buffer = grown
        self._buffer[count:end] = rows
        return self._buffer[:end]


def embed_again(
    record: bytes,
    dim: int,
    dtype: str,
    embed: Callable[[list[Block]], npt.NDArray[np.float32]],
) -> bytes:
    """A record of a journal for an index of another embedder.

    Args:
        record: payload of the record.
        dim: width of its embeddings.
        dtype: of the other index; see `BlockUpdates`.
        embed: the other embedder: blocks -> embeddings.

    Raises:
        ValueError: if the other embedder makes NaN or infinity.
    """
    documents, blocks, embeddings = _decode(record, dim)
    if blocks:
        embeddings = _stored(embed(blocks), dtype)
    return _encode(documents, blocks, embeddings)


def _stored(
    embeddings: npt.NDArray[np.float32], dtype: str
) -> npt.NDArray[np.float32]:
    """Embeddings as an index of this type would give them back."""
    bad = bad_rows(embeddings)
    if len(bad):
        raise bad_rows_error(bad, "leave these out (numbered as in `blocks`)")
    if dtype == "bfloat16":
        return embeddings.astype(ml_dtypes.bfloat16).astype(np.float32)
    return embeddings


def _document_ids(blocks: Sequence[Block]) -> list[str]:
    return [block.document_id for block in blocks]


def _insert(
    ids: npt.NDArray[np.int64], new: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Inserts ascending ids into ascending ids that hold none of them."""
    return np.insert(ids, np.searchsorted(ids, new), new)


def _encode(
    documents: Sequence[str],
    blocks: Sequence[Block],
    embeddings: npt.NDArray[np.float32],
) -> bytes:
    fields: dict[str, Any] = {
        "documents": documents,
        "blocks": [dataclasses.asdict(block) for block in blocks],
    }
    text = json.dumps(fields).encode()
    return _LENGTH.pack(len(text)) + text + embeddings.astype("<f4").tobytes()


def _decode(
    payload: bytes, dim: int
) -> tuple[list[str], list[Block], npt.NDArray[np.float32]]:
    start = _LENGTH.size
    end = start + _LENGTH.unpack_from(payload)[0]
    fields: dict[str, Any] = json.loads(payload[start:end])
    blocks = [_block(block) for block in fields["blocks"]]
    embeddings = np.frombuffer(payload, "<f4", offset=end).reshape(-1, dim)
    return fields["documents"], blocks, embeddings


def _block(fields: dict[str, Any]) -> Block:
    """Undoes `dataclasses.asdict` and JSON, which has no tuples."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    return Block(**values)
