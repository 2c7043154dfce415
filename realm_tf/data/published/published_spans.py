"""The published annotation: TFRecords of blocks with salient spans.

Records are those of the original's `wikipedia_annotated_with_dates_public`:
bytes `title` and `text`; int64 lists `sentence_byte_start`,
`sentence_byte_limit`, `span_byte_start`, `span_byte_limit`, in bytes of the
UTF-8 text. Or they are of `salient_span_wikipedia/documents`, which TFDS made
from these, and where the lists are called `sentences/start`,
`sentences/limit`, `spans/start`, `spans/limit`.
"""

import logging
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from realm_tf.data.corpus.blocks import block_uid
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.published.published_blocks import read_tfrecords
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.salient_spans import SalientSpans, write_spans

logger = logging.getLogger(__name__)

_LABEL = "SALIENT"  # the published spans have no types that could be used
_ORIGINAL_LISTS = (
    "sentence_byte_start",
    "sentence_byte_limit",
    "span_byte_start",
    "span_byte_limit",
)
# TFDS joins the names of nested features with a slash.
_TFDS_LISTS = (
    "sentences/start",
    "sentences/limit",
    "spans/start",
    "spans/limit",
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
        skip_bad: skip the rest of a damaged file, and log that.

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
                f"{error}. Download the file again; of "
                '`salient_span_wikipedia`, take the config "documents".'
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
    # Objects would need a kilobyte a block; these, 60 bytes.
    places = array("i")  # start and end in turn
    splits = array("q", [0])  # of the records in `places`
    records = np.full(corpus.num_blocks, -1, np.int32)  # of the blocks
    num_unknown = 0
    for block in read_annotated_blocks(paths, skip_bad=skip_bad):
        key = np.uint64(_key(block.title, block.text))
        first, end = (
            np.searchsorted(keys, key, side, sorter=order)
            for side in ("left", "right")
        )
        if first == end:
            num_unknown += 1
            continue
        records[order[first:end]] = len(splits) - 1
        for span in usable_spans(block):
            places.extend(span)
        splits.append(len(places))
    del keys, order
    num_known = len(splits) - 1
    if not num_known:
        raise ValueError(
            "Some records must be of blocks of the corpus. Received: "
            f"{num_unknown} records, all of other blocks than those of "
            f"{corpus.path}. Build the corpus from the same texts."
        )
    num_missing = np.count_nonzero(records < 0)
    if num_missing:
        logger.warning(
            "%d of %d blocks of %s have no record. If they should have, a file "
            "is missing or cut.",
            num_missing,
            corpus.num_blocks,
            corpus.path,
        )

    def rows() -> Iterator[list[SalientSpan]]:
        for record in records:
            if record < 0:
                yield []
                continue
            own = places[splits[record] : splits[record + 1]]
            pairs = zip(own[::2], own[1::2], strict=True)
            yield [SalientSpan(*pair, _LABEL) for pair in pairs]

    options = {"num_records": num_known, "num_unknown_records": num_unknown}
    return write_spans(corpus, rows(), path, options, overwrite=overwrite)


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
    names = _list_names(features)
    title, text = (
        b"".join(features[name].bytes_list.value).decode()
        for name in ("title", "text")
    )
    starts, limits, span_starts, span_limits = (
        [int(i) for i in features[name].int64_list.value] for name in names
    )
    return AnnotatedBlock(
        title,
        text,
        list(zip(starts, limits, strict=True)),
        list(zip(span_starts, span_limits, strict=True)),
    )


def _list_names(features: Mapping[str, object]) -> tuple[str, ...]:
    for names in (_ORIGINAL_LISTS, _TFDS_LISTS):
        # An empty list of spans may be left out; no block lacks sentences.
        if all(name in features for name in names[:2]):
            return names
    raise ValueError(
        f"neither {_ORIGINAL_LISTS[:2]} nor {_TFDS_LISTS[:2]} among the keys "
        f"{sorted(features)}"
    )


def _key(title: str, text: str) -> int:
    return block_uid(title, text) & (2**64 - 1)
