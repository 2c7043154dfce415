"""The published annotation: TFRecords of blocks with salient spans.

Records have the layout of the TFDS set `salient_span_wikipedia`, which is that
of the original's `wikipedia_annotated_with_dates_public`: bytes `title` and
`text`; int64 lists `sentence_byte_start`, `sentence_byte_limit`,
`span_byte_start`, `span_byte_limit`, in bytes of the UTF-8 text.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from realm_tf.data.block_records import read_tfrecords
from realm_tf.data.blocks import block_uid
from realm_tf.data.corpus import Corpus
from realm_tf.data.salient_spans import Span
from realm_tf.data.span_store import SalientSpans, write_spans

logger = logging.getLogger(__name__)

_LABEL = "SALIENT"  # the published spans have no types that could be used
_LISTS = (
    "sentence_byte_start",
    "sentence_byte_limit",
    "span_byte_start",
    "span_byte_limit",
)


class AnnotatedBlock(NamedTuple):
    """One record.

    Args:
        title: title of the article.
        text: the block.
        sentences: first byte and byte after the last, of each.
        spans: the same, of each salient span.
    """

    title: str
    text: str
    sentences: list[tuple[int, int]]
    spans: list[tuple[int, int]]


def read_annotated_blocks(
    paths: Iterable[str | os.PathLike[str]], *, skip_bad: bool = False
) -> Iterator[AnnotatedBlock]:
    """Reads records, compressed with gzip or not.

    Args:
        paths: TFRecord files.
        skip_bad: go on with the next file where one is damaged, and log it.

    Raises:
        ValueError: naming file and record, where one cannot be read.
    """
    for path in paths:
        number = 0
        try:
            for record in read_tfrecords(path):
                yield _parse(record)
                number += 1
        except (DecodeError, ValueError) as error:
            message = (
                f"{os.fspath(path)} must hold records of blocks with salient "
                f"spans. Received: {type(error).__name__} in record {number}: "
                f"{error}. Download the file again."
            )
            if not skip_bad:
                raise ValueError(message) from error
            logger.warning("Skipped the rest of a file. %s", message)


def import_annotated_spans(
    paths: Iterable[str | os.PathLike[str]],
    corpus: Corpus,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    skip_bad: bool = False,
) -> SalientSpans:
    """Finds the blocks of records in a corpus and writes their spans.

    Args:
        paths: TFRecord files.
        corpus: `Corpus` of the same blocks, in any order.
        path: folder to write.
        overwrite: replace spans that are there.
        skip_bad: see `read_annotated_blocks`.

    Returns:
        `SalientSpans`, of `path`. Its manifest says how many records are of
        no block of the corpus. Blocks without a record are logged: a file that
        ends between two records cannot be told from a whole one.

    Raises:
        ValueError: if no record is of a block of the corpus.
    """
    # Eight bytes of a hash each: 13 million blocks fit in 200 MB.
    keys = np.fromiter(
        (_key(block.title, block.text) for block in corpus),
        np.uint64,
        corpus.num_blocks,
    )
    order = np.argsort(keys, kind="stable")
    rows: list[Sequence[Span]] = [()] * corpus.num_blocks
    is_known = np.zeros(corpus.num_blocks, bool)
    num_unknown = num_known = 0
    for block in read_annotated_blocks(paths, skip_bad=skip_bad):
        key = np.uint64(_key(block.title, block.text))
        first, end = (
            np.searchsorted(keys, key, side, sorter=order)
            for side in ("left", "right")
        )
        spans = [Span(*span, _LABEL) for span in usable_spans(block)]
        for block_id in order[first:end]:
            rows[block_id] = spans
            is_known[block_id] = True
        num_known += int(end > first)
        num_unknown += int(end == first)
    if not num_known:
        raise ValueError(
            "Some records must be of blocks of the corpus. Received: "
            f"{num_unknown} records, all of other blocks than those of "
            f"{corpus.path}. Build the corpus from the same texts."
        )
    if not is_known.all():
        logger.warning(
            "%d of %d blocks of %s have no record. If they should have, a file "
            "is missing or cut.",
            np.sum(~is_known),
            corpus.num_blocks,
            corpus.path,
        )
    options = {"num_records": num_known, "num_unknown_records": num_unknown}
    return write_spans(corpus, rows, path, options, overwrite=overwrite)


def usable_spans(block: AnnotatedBlock) -> list[tuple[int, int]]:
    """The distinct spans of a record that lie inside one sentence.

    Example:
    >>> block = AnnotatedBlock("", "A. B.", [(0, 2), (3, 5)], [(0, 1), (0, 4)])
    >>> usable_spans(block)
    [(0, 1)]
    """
    return sorted(
        {
            (start, end)
            for start, end in block.spans
            if any(a <= start < end <= b for a, b in block.sentences)
        }
    )


def _parse(record: bytes) -> AnnotatedBlock:
    features = tf.train.Example.FromString(record).features.feature
    title, text = (
        b"".join(features[name].bytes_list.value).decode()
        for name in ("title", "text")
    )
    starts, limits, span_starts, span_limits = (
        [int(i) for i in features[name].int64_list.value] for name in _LISTS
    )
    return AnnotatedBlock(
        title,
        text,
        list(zip(starts, limits, strict=True)),
        list(zip(span_starts, span_limits, strict=True)),
    )


def _key(title: str, text: str) -> int:
    return block_uid(title, text) & (2**64 - 1)
