"""The salient spans of a corpus: a folder beside it.

CORPUS.spans/
  manifest.json     counts, labels, fingerprint of the corpus
  spans.npy         int32 (num_spans, 2): first byte, byte after the last
  labels.npy        uint8 (num_spans,): place in the manifest's list
  row_splits.npy    int64 (num_blocks + 1,)

A corpus never changes, and may have several such folders.
"""

import os
import pathlib
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from realm_tf._files import open_npy, write_npy_header
from realm_tf._manifest import OpenFolder, open_folder, write_folder
from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.span_tagger import SpanTagger, tag_texts
from realm_tf.errors import MismatchError

KIND = "spans"
_BLOCKS_AT_ONCE = 1_024
_MOST_LABELS = 255  # their numbers are bytes


class SalientSpans:
    """Salient spans of the blocks of a corpus, on the disk.

    Written by `tag_corpus` and `write_spans`, opened by `SalientSpans.open`.

    Args:
        folder: `OpenFolder`.
    """

    def __init__(self, folder: OpenFolder):
        manifest = folder.manifest
        self.path = folder.path
        self._files = folder.files
        self.fingerprint = manifest.fingerprint
        self.labels: list[str] = manifest.options["labels"]
        self.num_spans = manifest.counts["num_spans"]
        rows = manifest.counts["num_blocks"] + 1
        self._row_splits = _load(folder, "row_splits", "<i8", rows)
        self._spans = _load(folder, "spans", "<i4", self.num_spans, 2)
        self._labels = _load(folder, "labels", "|u1", self.num_spans)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], corpus: Corpus
    ) -> "SalientSpans":
        """Opens the spans of a corpus.

        Raises:
            FolderError: if the folder is missing or damaged.
            MismatchError: if the spans are of another corpus.
        """
        path = pathlib.Path(path)
        folder = open_folder(path, KIND)
        found = folder.manifest.fingerprints.get("corpus", "")
        if found != corpus.fingerprint:
            raise MismatchError(
                "`corpus` must be the one that was tagged. Received: corpus "
                f"fingerprint={corpus.fingerprint[:16]}, of the spans in "
                f"{path}={found[:16]}. Tag it with `realm-tf spans`."
            )
        return cls(folder)

    def spans(self, block_id: int) -> list[SalientSpan]:
        """Spans of a block; places are bytes in its text."""
        self._check_unchanged()
        part = slice(self._row_splits[block_id], self._row_splits[block_id + 1])
        return [
            SalientSpan(int(start), int(end), self.labels[label])
            for (start, end), label in zip(
                self._spans[part], self._labels[part], strict=True
            )
        ]

    def count_labels(self) -> dict[str, int]:
        """Number of spans of each label."""
        self._check_unchanged()
        counts = np.bincount(self._labels, minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def tagged_blocks(self) -> np.ndarray:
        """Ids of the blocks that have a span."""
        self._check_unchanged()
        return np.flatnonzero(np.diff(self._row_splits))

    def _check_unchanged(self) -> None:
        for file in self._files.values():
            file.check_unchanged()


def default_path(corpus: str | os.PathLike[str]) -> pathlib.Path:
    """Where the spans of a corpus are unless they are put elsewhere."""
    path = pathlib.Path(corpus)
    return path.with_name(path.name + ".spans")


def tag_corpus(
    corpus: Corpus,
    tagger: SpanTagger,
    path: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> SalientSpans:
    """Tags all sentences of a corpus and writes what was found.

    Args:
        corpus: `Corpus`.
        tagger: `SpanTagger`.
        path: folder to write. Default: beside the corpus, where `make_masks`
            looks for it.
        overwrite: replace spans that are there.
        progress: see `Progress`; its stage is "spans", its units are blocks.

    Returns:
        `SalientSpans`, of `path`.
    """

    def rows() -> Iterable[list[SalientSpan]]:
        for start in range(0, corpus.num_blocks, _BLOCKS_AT_ONCE):
            end = min(start + _BLOCKS_AT_ONCE, corpus.num_blocks)
            blocks = corpus.blocks(range(start, end))
            texts = [(block.text, block.sentence_starts) for block in blocks]
            yield from tag_texts(tagger.tag, texts)
            progress("spans", end, corpus.num_blocks, {})

    path = path or default_path(corpus.path)
    options = {"tagger": type(tagger).__name__}
    return write_spans(corpus, rows(), path, options, overwrite=overwrite)


def write_spans(
    corpus: Corpus,
    rows: Iterable[Sequence[SalientSpan]],
    path: str | os.PathLike[str],
    options: dict[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> SalientSpans:
    """Writes the spans of all blocks.

    Args:
        corpus: `Corpus`.
        rows: the spans of every block, in order.
        path: folder to write.
        options: JSON values that say how they were made.
        overwrite: replace spans that are there.

    Returns:
        `SalientSpans`, of `path`.

    Raises:
        ValueError: if there are not as many rows as blocks, or more labels
            than a byte can tell.
    """
    counts, numbers = array("i"), array("B")
    labels: dict[str, int] = {}
    with (
        write_folder(path, KIND, overwrite=overwrite) as writer,
        # The header of an array says how long it is, which is not known yet,
        # and in memory the places would need 50 bytes a block.
        tempfile.TemporaryFile(dir=writer.path) as places,
    ):
        for row in rows:
            counts.append(len(row))
            pairs = [(span.start, span.end) for span in row]
            places.write(np.array(pairs, "<i4").tobytes())
            numbers.extend(_numbers(row, labels))
        if len(counts) != corpus.num_blocks:
            raise ValueError(
                "`rows` must hold the spans of every block. Received: "
                f"{len(counts)} rows for {corpus.num_blocks} blocks. Give an "
                "empty row for a block without a span."
            )
        places.seek(0)
        with open(writer.path / "spans.npy", "wb") as file:
            write_npy_header(file, "<i4", (len(numbers), 2))
            shutil.copyfileobj(places, file)
        row_splits = np.zeros(corpus.num_blocks + 1, np.int64)
        np.cumsum(counts, out=row_splits[1:])
        for name, values in (
            ("row_splits", row_splits),
            ("labels", np.asarray(numbers, np.uint8)),
        ):
            np.save(writer.path / f"{name}.npy", values, allow_pickle=False)
        writer.describe(
            counts={
                "num_spans": len(numbers),
                "num_blocks": corpus.num_blocks,
                "num_tagged_blocks": int(np.count_nonzero(counts)),
            },
            fingerprints={"corpus": corpus.fingerprint},
            options={**(options or {}), "labels": list(labels)},
        )
    return SalientSpans.open(path, corpus)


def _numbers(row: Sequence[SalientSpan], labels: dict[str, int]) -> list[int]:
    """Places of the labels of spans in `labels`, which gets the new ones."""
    numbers = [labels.setdefault(span.label, len(labels)) for span in row]
    if len(labels) > _MOST_LABELS:
        raise ValueError(
            f"`rows` must have {_MOST_LABELS} labels or fewer. Received: "
            f"{len(labels)} labels, the last {list(labels)[-1]!r}. Give spans "
            "of one kind one label."
        )
    return numbers


def _load(folder: OpenFolder, name: str, dtype: str, *shape: int) -> np.ndarray:
    advice = "Tag the corpus again with `realm-tf spans`."
    file = f"{name}.npy"
    source = folder.files.get(file, folder.path / file)
    return open_npy(source, dtype, shape, advice)
