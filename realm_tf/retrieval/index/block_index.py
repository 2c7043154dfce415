"""BlockIndex: the index folder. Embeddings, searcher and blocks together."""

import contextlib
import functools
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf._files import writer_lock
from realm_tf._manifest import OpenFolder
from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus.answer import Evidence
from realm_tf.data.corpus.corpus_editor import edit_corpus
from realm_tf.errors import LockedError, MismatchError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index import index_builder, index_loader, index_versions
from realm_tf.retrieval.index.block_updates import (
    BlockUpdates,
    UpdatesSnapshot,
)
from realm_tf.retrieval.index.hybrid_search import add_words
from realm_tf.retrieval.index.index_builder import LEXICAL, EmbeddingChunks
from realm_tf.retrieval.index.lexical_index import LexicalIndex
from realm_tf.retrieval.searchers.analyzer import (
    DEFAULT_ANALYZER,
    import_tantivy,
)
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.searcher import (
    SearchResult,
    check_block_ids,
    check_k,
    check_texts,
    merge_results,
)

if TYPE_CHECKING:
    from realm_tf.data.corpus.blocks import Block
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.text.featurizer import Featurizer

_UPDATE_TIMEOUT_SECONDS = 10.0  # one of another process takes milliseconds
_RECALL_FLOOR = 0.9
_MIN_CANDIDATES = 100  # of each of the two searches


class BlockIndex:
    """One version of an index, with its later updates.

    Made by `BlockIndex.build` and `BlockIndex.open`; the constructor is for
    these two.

    ```
    index/v000001/            never changes: manifest.json, embeddings-*.npy
                              (row number = block id), excluded_block_ids.npy,
                              scann/ (only if it was built with ScaNN),
                              lexical/ (words, of Tantivy)
    index/v000001.updates     journal of added and deleted documents
    index/v000002/ ...        the newest complete version is the one in use
    ```

    Many threads may search while one updates; each search sees one state. A
    search also sees what other processes have added and deleted until then.

    Attributes:
        path: the index folder.
        version: number of the version.
        corpus: `Corpus` whose blocks are indexed.
        is_mismatched: True if it was opened with `allow_mismatch=True` and
            does not belong to the corpus or the embedder.

    Example:
    ```python
    index = BlockIndex.build(
        "index", corpus, embeddings, embedder_fingerprint=fingerprint
    )
    result = index.search(queries, k=5)
    blocks = index.blocks(result.block_ids[0])
    ```
    """

    def __init__(
        self,
        path: pathlib.Path,
        version: int,
        opened: OpenFolder,
        corpus: "Corpus",
        *,
        exact: bool,
        is_mismatched: bool,
    ):
        self.path = path
        self.version = version
        self.manifest = manifest = opened.manifest
        self.corpus = corpus
        self.is_mismatched = is_mismatched
        self._matrix = index_loader.open_matrix(opened)
        self._excluded = index_loader.open_excluded(opened)
        self._searcher = index_loader.open_searcher(opened, self._matrix, exact)
        self._lexical = index_loader.open_lexical(opened)
        self._updates = BlockUpdates(
            index_versions.updates_file(path, version),
            corpus,
            dim=self._matrix.dim,
            dtype=manifest.options["dtype"],
            belongs_to=manifest.fingerprint,
        )
        self._update_lock = threading.Lock()

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        corpus: "Corpus",
        embeddings: EmbeddingChunks,
        *,
        embedder_fingerprint: str,
        searcher: str = "auto",
        dtype: str = "float32",
        analyzer: str | None = DEFAULT_ANALYZER,
        scann: ScannOptions | None = None,
        recall_floor: float = _RECALL_FLOOR,
        probe_queries: npt.ArrayLike | None = None,
        skip_bad: bool = False,
        training_step: int | None = None,
        attachments: Mapping[str, bytes] | None = None,
        force: bool = False,
        progress: Progress = no_progress,
    ) -> "BlockIndex":
        """Builds the next version of an index, and opens it.

        Args:
            path: the index folder; created if it does not exist.
            corpus: `Corpus` whose blocks were embedded.
            embeddings: chunks `(n, embedding_dim)` in the order of block ids,
                streamed to disk as they come, or one array.
            embedder_fingerprint: identity of the weights that embedded them.
            searcher: "brute_force" (exact), "scann", or "auto": brute force
                below 50,000 blocks or where ScaNN cannot be used.
            dtype: "float32" or "bfloat16", which halves the disk space.
            analyzer: how the words of the lexical search are made, see
                `Analyzer`; None leaves it out. Where Tantivy is not installed,
                there is none.
            scann: `ScannOptions`; default: chosen from the number of blocks.
            recall_floor: least share of the exact top 20 that ScaNN must find.
            probe_queries: float array `(n, embedding_dim)`, on which that
                share is measured; default: blocks with noise.
            skip_bad: leave blocks with NaN, infinite, all-zero or overlong
                embeddings out of every search, in place of raising.
            training_step: steps the weights were trained for, if any.
            attachments: contents of files to keep with the version, by name.
            force: build even if memory or disk will not do, see `IndexPlan`.
                That is checked with the first chunk.
            progress: see `Progress`; its stage is "index", its units are
                blocks.

        Raises:
            LockedError: if another process is writing the index.
            ResourceError: if memory or disk will not do.
            ValueError: if `embeddings` do not fit the corpus, or are bad.
            RecallError: if ScaNN finds less than `recall_floor`.
            ScannBuildError: if ScaNN failed.
        """
        path = pathlib.Path(path)
        with writer_lock(path):
            index_loader.refuse_to_lose_updates(path, corpus)
            fill = functools.partial(
                index_builder.write_version,
                corpus=corpus,
                embeddings=embeddings,
                embedder_fingerprint=embedder_fingerprint,
                searcher=searcher,
                dtype=dtype,
                analyzer=analyzer,
                scann=scann,
                recall_floor=recall_floor,
                probe_queries=probe_queries,
                skip_bad=skip_bad,
                training_step=training_step,
                attachments=attachments,
                force=force,
                progress=progress,
            )
            version = index_versions.publish(path, fill)
        return cls.open(path, corpus, version=version, verify=False)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        corpus: "Corpus",
        *,
        embedder_fingerprint: str | None = None,
        version: int | None = None,
        exact: bool = False,
        verify: bool = True,
        allow_mismatch: bool = False,
    ) -> "BlockIndex":
        """Opens a version of an index; memory does not grow with its size.

        Args:
            path: the index folder.
            corpus: `Corpus` it was built from.
            embedder_fingerprint: identity of the query embedder's weights;
                None leaves that unchecked.
            version: number of the version; default: the newest complete one.
            exact: score every block, even if the index has ScaNN files.
            verify: compare the SHA-256 of every file, not only its size.
            allow_mismatch: warn, in place of raising, if the index belongs to
                another corpus of as many blocks or to another embedder.

        Raises:
            FolderError: if the version is missing, incomplete or damaged.
            MismatchError: if it does not belong to `corpus` or the embedder.
        """
        path = pathlib.Path(path)
        version = index_versions.find_version(path, version)
        folder = index_versions.version_folder(path, version)
        opened = index_loader.open_version(folder, verify=verify)
        belongs = index_loader.check_belongs(
            folder,
            opened.manifest,
            corpus,
            embedder_fingerprint,
            allow_mismatch,
        )
        return cls(
            path,
            version,
            opened,
            corpus,
            exact=exact,
            is_mismatched=not belongs,
        )

    @classmethod
    def roll_back(
        cls, path: str | os.PathLike[str], version: int, timeout: float = 0.0
    ) -> int:
        """Makes an older version the newest one, under a new number.

        Its updates come with it. It belongs to the corpus that it was built of.

        Args:
            path: the index folder.
            version: number of the version to go back to.
            timeout: seconds to wait for another process that writes.

        Returns:
            Number of the new version.
        """
        with writer_lock(path, timeout=timeout):
            return index_versions.republish(pathlib.Path(path), version)

    @property
    def folder(self) -> pathlib.Path:
        """Folder of this version."""
        return index_versions.version_folder(self.path, self.version)

    @property
    def num_blocks(self) -> int:
        """Number of blocks that can be found, updates included."""
        snapshot = self._updates.follow()
        hidden = len(self._hidden(snapshot.deleted))
        return self._matrix.num_rows + snapshot.matrix.num_rows - hidden

    @property
    def num_updates(self) -> int:
        """Updates of this version that were read; does not look for others.

        With `version` it says how much of the writes of another process was
        followed, without a clock.
        """
        return self._updates.num_records

    def follow(self) -> None:
        """Reads what other processes have added and deleted, as searches do."""
        self._updates.follow()

    def whole_corpus(self) -> "Corpus":
        """`corpus`, which must hold all that can be found.

        Raises:
            ValueError: if documents were added or deleted since it was built.
        """
        self._updates.follow()
        if not self._updates.is_empty:
            raise ValueError(
                "The corpus of the index must hold all documents. Received: "
                f"{self.path}, with documents added or deleted since. Call "
                "`qa.index = qa.index.compact(corpus_path, qa.featurizer)` "
                "first, or name a corpus."
            )
        return self.corpus

    @property
    def embedding_dim(self) -> int:
        """Width of queries and embeddings."""
        return self._matrix.dim

    @property
    def is_exact(self) -> bool:
        """Whether every search finds the true best blocks."""
        return self._searcher.is_exact

    @property
    def fingerprint(self) -> str:
        """Identity of the version, without its updates."""
        return self.manifest.fingerprint

    @property
    def embedder_fingerprint(self) -> str:
        """Identity of the weights that embedded the blocks."""
        return self.manifest.fingerprints["embedder"]

    @property
    def training_step(self) -> int:
        """Steps the weights were trained for; 0 where that was not said."""
        return self.manifest.options.get(index_builder.TRAINING_STEP, 0)

    @property
    def has_words(self) -> bool:
        """Whether it was built with a lexical part."""
        return self.analyzer is not None

    @property
    def analyzer(self) -> str | None:
        """Analyzer of the lexical part, see `Analyzer`; None without one."""
        name: str | None = self.manifest.options.get(LEXICAL)
        return name

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exact: bool = False,
        texts: Sequence[str] | None = None,
        lexical_weight: float = 0.0,
    ) -> SearchResult:
        """Returns the `k` best blocks of each query.

        f(x, z) = e(x) . e(z) + w bm25(x, z). Candidates are the best blocks of
        each of the two, 100 or more.

        Args:
            queries: float array `(batch, embedding_dim)`.
            k: number of results, 1 or more; missing ones are padded.
            exact: score every block, even if there is a faster way.
            texts: `(batch,)`, the texts of the queries; needed for w.
            lexical_weight: w; 0 compares embeddings alone.

        Returns:
            `SearchResult` with exact scores, the same for a query alone and in
            a batch. Equal scores are in the order of block ids.

        Raises:
            ValueError: if `queries` are not finite or have another width.
            MismatchError: if there is a weight, and no lexical part.
            ImportError: if Tantivy, which it needs, is not installed.
        """
        snapshot = self._updates.follow()
        if not lexical_weight:
            return self._search_embeddings(queries, k, snapshot, exact)
        lexical = self._require_lexical()
        texts = check_texts(texts, queries)
        check_k(k)
        added = self._updates.blocks[: snapshot.matrix.num_rows]
        hidden = self._hidden(snapshot.deleted)
        count = max(k, _MIN_CANDIDATES)
        if exact:
            count = snapshot.first_id + len(added)
        return add_words(
            self._search_embeddings(queries, count, snapshot, exact),
            np.asarray(queries, np.float32),
            texts,
            k,
            lexical_weight,
            search=lambda text: lexical.search(
                text, count, added=added, hidden=hidden
            ).block_ids[0],
            score=functools.partial(lexical.score, added=added),
            embeddings=self.embeddings,
        )

    def search_words(self, texts: Sequence[str], k: int) -> SearchResult:
        """Returns the `k` best blocks of each text by BM25 alone.

        Args:
            texts: `(batch,)`.
            k: number of results, 1 or more; missing ones are padded: a block
                without a word of the text is not found.

        Raises:
            MismatchError: if there is no lexical part.
            ImportError: if Tantivy, which it needs, is not installed.
        """
        snapshot = self._updates.follow()
        lexical = self._require_lexical()
        check_k(k)
        added = self._updates.blocks[: snapshot.matrix.num_rows]
        hidden = self._hidden(snapshot.deleted)
        result = SearchResult.empty(len(texts), k)
        for row, text in enumerate(texts):
            found = lexical.search(text, k, added=added, hidden=hidden)
            result.scores[row] = found.scores[0]
            result.block_ids[row] = found.block_ids[0]
        return result

    def retrieve(
        self,
        questions: Sequence[str],
        embeddings: npt.NDArray[np.float32],
        k: int,
        *,
        truncated: Sequence[bool] | npt.NDArray[np.bool_],
        lexical_weight: float = 0.0,
    ) -> list[Evidence]:
        """The best `k` blocks of each question, with their texts.

        Args:
            questions: `(batch,)`.
            embeddings: of the questions; see `search`.
            k: number of blocks.
            truncated: `(batch,)`, whether a question was cut.
            lexical_weight: see `search`.
        """
        found = self.search(
            embeddings, k, texts=questions, lexical_weight=lexical_weight
        )
        words = found.bm25
        if words is None:
            words = np.zeros_like(found.scores)
        known = found.block_ids != MISSING_BLOCK_ID
        return [
            Evidence(
                question=question,
                blocks=tuple(self.blocks(found.block_ids[row, known[row]])),
                retrieval_logits=found.scores[row, known[row]],
                lexical_scores=lexical_weight * words[row, known[row]],
                truncated=bool(truncated[row]),
                is_mismatched=self.is_mismatched,
                index_version=self.version,
            )
            for row, question in enumerate(questions)
        ]

    def bm25(
        self, texts: Sequence[str], block_ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """BM25 of given blocks.

        Args:
            texts: `(batch,)`, the queries.
            block_ids: int64 array `(batch, num_candidates)`;
                `MISSING_BLOCK_ID` scores 0.

        Returns:
            float32 array `(batch, num_candidates)`.
        """
        lexical = self._require_lexical()
        added = self._updates.blocks
        return np.stack(
            [
                lexical.score(text, row, added=added)
                for text, row in zip(texts, block_ids, strict=True)
            ]
        )

    def _require_lexical(self) -> LexicalIndex:
        if self._lexical is not None:
            return self._lexical
        if self.has_words:
            import_tantivy()
        raise MismatchError(
            "To compare words, an index must have a lexical part. Received: "
            f"{self.folder} without one. Build the index again, or take "
            "`lexical_weight=0`."
        )

    def _search_embeddings(
        self,
        queries: npt.ArrayLike,
        k: int,
        snapshot: UpdatesSnapshot,
        exact: bool,
    ) -> SearchResult:
        hidden = self._hidden(snapshot.deleted_from_corpus)
        searcher = BruteForceSearcher(self._matrix) if exact else self._searcher
        main = searcher.search(queries, k, excluded=hidden)
        if not snapshot.matrix.num_rows:
            return main
        return merge_results([main, snapshot.search(queries, k)], k)

    def blocks(
        self, block_ids: Sequence[int] | npt.NDArray[np.int64]
    ) -> list["Block"]:
        """Looks blocks up, in the order of `block_ids`.

        Blocks that were deleted after a search found them are still there.

        Raises:
            IndexError: if an id does not exist; `MISSING_BLOCK_ID` is none.
        """
        ids = np.asarray(block_ids, np.int64)
        first, added = self.corpus.num_blocks, self._updates.blocks
        check_block_ids(ids, 0, first + len(added))
        from_corpus = iter(self.corpus.blocks(ids[ids < first]))
        return [
            next(from_corpus) if block_id < first else added[block_id - first]
            for block_id in ids
        ]

    def has_document(self, document_id: str) -> bool:
        """Whether a document can be found."""
        self._updates.follow()
        return self._updates.has_document(document_id)

    def live_block_ids(self) -> npt.NDArray[np.int64]:
        """Ids of the blocks that can be found, ascending."""
        snapshot = self._updates.follow()
        end = snapshot.first_id + snapshot.matrix.num_rows
        return np.setdiff1d(np.arange(end), self._hidden(snapshot.deleted))

    def embeddings(
        self, block_ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Looks embeddings up.

        Args:
            block_ids: int64 array `(...)`; `MISSING_BLOCK_ID` gives zeros.

        Returns:
            float32 array `(..., embedding_dim)`.

        Raises:
            IndexError: if an id does not exist.
        """
        ids = np.asarray(block_ids, np.int64)
        end = self.corpus.num_blocks + len(self._updates.blocks)
        check_block_ids(ids, MISSING_BLOCK_ID, end)
        snapshot = self._updates.snapshot
        found = np.zeros((*ids.shape, self.embedding_dim), np.float32)
        main = (ids >= 0) & (ids < snapshot.first_id)
        added = ids >= snapshot.first_id
        found[main] = self._matrix.rows(ids[main])
        found[added] = snapshot.matrix.rows(ids[added] - snapshot.first_id)
        return found

    def add(
        self, blocks: Sequence["Block"], embeddings: npt.ArrayLike
    ) -> npt.NDArray[np.int64]:
        """Adds documents, or replaces those that exist.

        All blocks that a document had before are deleted. The update is on the
        disk when this returns, and in every search that begins afterwards.

        Args:
            blocks: all blocks of the documents, each with a `document_id`.
            embeddings: float array `(len(blocks), embedding_dim)`.

        Returns:
            int64 array: the ids of the blocks, from `corpus.num_blocks` upward
            in the order of adding.

        Raises:
            ValueError: if `blocks` and `embeddings` do not fit or are bad.
            LockedError: if another process is writing the index.
            OSError: if the disk is full. Nothing is changed by any of these.
        """
        with self._updating():
            return self._updates.add(blocks, embeddings)

    def delete(self, document_ids: Iterable[str]) -> None:
        """Deletes documents with all their blocks.

        Args:
            document_ids: documents of the corpus or added ones.

        Raises:
            UnknownDocumentError: a `KeyError`, if one does not exist.
            LockedError: if another process is writing the index.
            OSError: if the disk is full. Nothing is changed by any of these.
        """
        with self._updating():
            self._updates.delete(document_ids)

    def compact(
        self,
        corpus_path: str | os.PathLike[str],
        featurizer: "Featurizer",
        *,
        searcher: str = "auto",
        scann: ScannOptions | None = None,
        recall_floor: float = _RECALL_FLOOR,
    ) -> "BlockIndex":
        """Folds the updates into a new corpus and the next version.

        Answers stay the same, but for what ScaNN finds; block ids become those
        of the new corpus. This version stays as it is. Updates by other
        threads wait, and those by other processes are refused meanwhile.

        Args:
            corpus_path: folder of the new corpus; must not exist.
            featurizer: has the tokenizer of the corpus, for added blocks.
            searcher: see `build`.
            scann: see `build`.
            recall_floor: see `build`.

        Returns:
            `BlockIndex` of the new version, with the new corpus.

        Raises:
            LockedError: if another process is writing the index.
            MismatchError: if `featurizer` has another tokenizer.
        """
        with self._updating():
            snapshot = self._updates.snapshot
            live = snapshot.live_rows.tolist()
            corpus = edit_corpus(
                self.corpus,
                corpus_path,
                featurizer,
                deleted=snapshot.deleted_from_corpus.tolist(),
                added=[self._updates.blocks[row] for row in live],
            )
            fill = functools.partial(
                index_builder.write_version,
                corpus=corpus,
                embeddings=snapshot.live_embeddings(self._matrix),
                embedder_fingerprint=self.embedder_fingerprint,
                searcher=searcher,
                dtype=self.manifest.options["dtype"],
                analyzer=self.analyzer,
                scann=scann,
                recall_floor=recall_floor,
                skip_bad=len(self._excluded) > 0,
            )
            version = index_versions.publish(self.path, fill)
        return BlockIndex.open(self.path, corpus, version=version, verify=False)

    @contextlib.contextmanager
    def _updating(self) -> Iterator[None]:
        lock = writer_lock(self.path, timeout=_UPDATE_TIMEOUT_SECONDS)
        with self._update_lock, lock:
            newest = index_versions.find_version(self.path, None)
            if newest != self.version:
                raise LockedError(
                    "Only the newest version of an index may be updated. "
                    f"Received: version={self.version}, newest={newest}. Open "
                    "the index again, or roll back to this version."
                )
            self._updates.catch_up()
            yield

    def _hidden(self, deleted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Ids of blocks no search may return."""
        if not len(self._excluded):
            return deleted
        return np.union1d(self._excluded, deleted)
