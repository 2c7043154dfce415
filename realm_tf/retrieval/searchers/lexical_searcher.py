"""LexicalSearcher: BM25 of the words of blocks, with Tantivy."""

import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.errors import FolderError
from realm_tf.retrieval.searchers.analyzer import (
    Analyzer,
    composed,
    import_tantivy,
)
from realm_tf.retrieval.searchers.searcher import (
    SearchResult,
    best_first,
    check_k,
)

K1 = 1.2
"""Saturation of the count of a word; Tantivy's, which is fixed."""

B = 0.75
"""Share of the length of a block in its score; Tantivy's."""

_TEXT, _ID, _WORDS = "text", "block_id", "words"
_HEAP_BYTES = 256_000_000
_MAX_WORDS = 128  # different ones of a query that count
_MOST_REMOVALS = 20
_META_NAME = "meta.json"
_OPTIONS_NAME = "options.json"
_OS_ERROR = re.compile(r"os error (\d+)")
_HIDDEN_FILES = ".*"  # locks, and a list for a later writer


class LexicalSearcher:
    """Scores blocks by the words that they share with a query.

    bm25(x, z) = sum over the different words of x of
        idf(word) (k1 + 1) n / (n + k1 (1 - b + b length / mean length)),
    where n is how often the word is in the block's title and text, idf(word) =
    log(1 + (N - m + 0.5) / (m + 0.5)), m of all N blocks hold the word, k1 =
    1.2 and b = 0.75. Lengths are in words, above 40 rounded down to 4 bits.

    Made by `LexicalSearcher.build` and `LexicalSearcher.load`. Many threads may
    search; the files are read at the start and may be removed afterwards.

    Source: Robertson and Zaragoza, 2009, "The Probabilistic Relevance
    Framework: BM25 and Beyond".
    """

    def __init__(self, folder: str | os.PathLike[str]):
        folder = pathlib.Path(folder)
        tantivy = import_tantivy()
        options = _read_options(folder)
        self.analyzer: Analyzer = options["analyzer"]
        self.mean_length: float = options["mean_length"]
        self._query, self._occur = tantivy.Query, tantivy.Occur
        self._folder = folder
        with _damage_named(folder):
            index = _open(tantivy, folder)
            self._schema = index.schema
            self._tantivy = index.searcher()
            self.num_blocks: int = self._tantivy.num_docs

    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        folder: str | os.PathLike[str],
        analyzer: str = "english",
    ) -> "LexicalSearcher":
        """Builds Tantivy's files in `folder`.

        Args:
            texts: title and text of each block, in the order of their ids.
            folder: created; must not hold anything.
            analyzer: see `Analyzer`.

        Raises:
            ImportError: if Tantivy is not installed.
            OSError: if the disk is full.
        """
        tantivy = import_tantivy()
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        schema = tantivy.SchemaBuilder()
        schema.add_text_field(_TEXT, tokenizer_name=_WORDS, index_option="freq")
        schema.add_unsigned_field(_ID, indexed=True, fast=True)
        index = tantivy.Index(schema.build(), path=str(folder))
        index.register_tokenizer(_WORDS, Analyzer(analyzer).of_tantivy)
        with _disk_errors(folder):
            # One thread keeps the blocks in order, so that equal blocks make
            # equal files.
            writer = index.writer(_HEAP_BYTES, num_threads=1)
            for block_id, text in enumerate(texts):
                document = tantivy.Document()
                document.add_text(_TEXT, composed(text))
                document.add_unsigned(_ID, block_id)
                writer.add_document(document)
            writer.commit()
            writer.wait_merging_threads()
        index.reload()
        options = {"analyzer": analyzer, "mean_length": _mean_length(index)}
        _name_segments(folder)
        for hidden in folder.glob(_HIDDEN_FILES):
            hidden.unlink()
        text = json.dumps(options, indent=1) + "\n"
        (folder / _OPTIONS_NAME).write_text(text, encoding="utf-8")
        return cls(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "LexicalSearcher":
        """Opens the files that `build` wrote.

        Raises:
            ImportError: if Tantivy is not installed.
            FolderError: if they cannot be read.
        """
        return cls(folder)

    def words(self, text: str) -> list[str]:
        """The different words of a query that count, at most 128."""
        return list(dict.fromkeys(self.analyzer.words(text)))[:_MAX_WORDS]

    def search(
        self,
        words: Sequence[str],
        k: int,
        *,
        excluded: npt.NDArray[np.int64] | None = None,
    ) -> SearchResult:
        """Returns the `k` blocks with the highest BM25.

        Args:
            words: of one query, see `words`.
            k: number of results, 1 or more. Missing ones are padded: a block
                that shares no word with the query is not found.
            excluded: int64 array of block ids, ascending, never to return.

        Returns:
            `SearchResult` of a batch of one.
        """
        check_k(k)
        result = SearchResult.empty(1, k)
        count, hidden = k, np.empty(0, np.int64)
        if excluded is not None:
            hidden = excluded
        while True:
            scores, ids = self._search(self._any_of(words), count)
            visible = ~np.isin(ids, hidden)
            if visible.sum() >= k or len(ids) < count:
                break
            count = min(2 * count + len(hidden), self.num_blocks + 1)
        scores, ids = scores[visible], ids[visible]
        order = best_first(scores, ids, k)
        result.scores[0, : len(order)] = scores[order]
        result.block_ids[0, : len(order)] = ids[order]
        return result

    def score(
        self, words: Sequence[str], block_ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """BM25 of given blocks.

        Args:
            words: of one query, see `words`.
            block_ids: int64 array `(num_candidates,)`; `MISSING_BLOCK_ID`
                scores 0.

        Returns:
            float32 array `(num_candidates,)`.
        """
        wanted = np.unique(block_ids[block_ids != MISSING_BLOCK_ID])
        scores = np.zeros(len(block_ids), np.float32)
        if not len(wanted):
            return scores
        among = self._query.term_set_query(self._schema, _ID, wanted.tolist())
        both = self._query.boolean_query(
            [
                (self._occur.Must, self._query.const_score_query(among, 0.0)),
                (self._occur.Must, self._any_of(words)),
            ]
        )
        found, ids = self._search(both, len(wanted))
        known = dict(zip(ids.tolist(), found.tolist(), strict=True))
        return np.array([known.get(i, 0.0) for i in block_ids], np.float32)

    def idf(self, word: str) -> float:
        """Weight of a word, by the blocks that hold it."""
        count = self._tantivy.doc_freq(_TEXT, word)
        return math.log1p((self.num_blocks - count + 0.5) / (count + 0.5))

    def _any_of(self, words: Sequence[str]) -> Any:
        terms = [
            self._query.term_query(self._schema, _TEXT, word, "freq")
            for word in words
        ]
        return self._query.boolean_query(
            [(self._occur.Should, term) for term in terms]
        )

    def _search(
        self, query: Any, count: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        with _damage_named(self._folder):
            hits = self._tantivy.search(query, count, count=False).hits
            places = [place for _, place in hits]
            ids = self._tantivy.fast_field_values(_ID, places)
            return (
                np.array([score for score, _ in hits], np.float32),
                np.array(ids, np.int64),
            )


def rounded_length(num_words: int) -> int:
    """Length of a block as Tantivy stores it, in one byte."""
    if num_words < 40:
        return num_words
    shift = max((num_words - 24).bit_length() - 4, 0)
    return ((num_words - 24) >> shift << shift) + 24


@contextlib.contextmanager
def _damage_named(folder: pathlib.Path) -> Iterator[None]:
    """Makes a `FolderError` of what Tantivy says of damaged files."""
    try:
        yield
    except BaseException as error:
        # An assertion of Tantivy is an error of no class that can be imported.
        is_panic = type(error).__name__ == "PanicException"
        if not is_panic and not isinstance(
            error, ValueError | TypeError | OSError
        ):
            raise
        raise FolderError(
            f"{folder} must hold a lexical index that Tantivy can read. "
            f"Received: {error}. Copy the index again, or rebuild it."
        ) from error


@contextlib.contextmanager
def _disk_errors(folder: pathlib.Path) -> Iterator[None]:
    """Makes an `OSError` of what Tantivy says of a disk."""
    try:
        yield
    except ValueError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error), str(folder)) from error


def _open(tantivy: Any, folder: pathlib.Path) -> Any:
    """Opens Tantivy's files without a change to their folder.

    Tantivy makes a lock file where it opens an index, which a folder that may
    only be read does not allow.
    """
    links = tempfile.mkdtemp(prefix="realm_tf-")
    try:
        for file in folder.iterdir():
            os.symlink(file.absolute(), os.path.join(links, file.name))
        index = tantivy.Index.open(links)
        index.config_reader("manual")  # now, and never again
    finally:
        _remove(links)
    return index


def _remove(folder: str) -> None:
    """Removes a folder, into which a thread of Tantivy may put a lock yet."""
    for _ in range(_MOST_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.01)


def _mean_length(index: Any) -> float:
    """Mean number of words of a block, which Tantivy tells of a match."""
    tantivy = import_tantivy()
    searcher = index.searcher()
    words = searcher.terms_with_prefix(_TEXT, "", limit=1)
    if not words:
        return 1.0  # nothing has a word
    query = tantivy.Query.term_query(index.schema, _TEXT, words[0][0], "freq")
    (_, place), *_ = searcher.search(query, 1, count=False).hits
    parts = [json.loads(query.explain(searcher, place).to_json())]
    while parts:
        part = parts.pop()
        if part["description"].startswith("avgdl"):
            return float(part["value"])
        parts += part.get("details", [])
    raise AssertionError  # BM25 has a mean length


def _name_segments(folder: pathlib.Path) -> None:
    """Numbers Tantivy's segments, whose names are random."""
    meta = json.loads((folder / _META_NAME).read_bytes())
    for number, segment in enumerate(meta["segments"]):
        old = uuid.UUID(segment["segment_id"])
        new = uuid.UUID(int=number)
        for file in folder.glob(f"{old.hex}.*"):
            file.rename(folder / file.name.replace(old.hex, new.hex))
        segment["segment_id"] = str(new)
    text = json.dumps(meta, indent=1) + "\n"
    (folder / _META_NAME).write_text(text, encoding="utf-8")


def _read_options(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / _OPTIONS_NAME
    try:
        options: dict[str, Any] = json.loads(path.read_bytes())
        return {
            "analyzer": Analyzer(str(options["analyzer"])),
            "mean_length": float(options["mean_length"]),
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FolderError(
            f"{path} must hold the options of a lexical index. Received: "
            f"{error!r}. Copy the index again, or rebuild it."
        ) from error
