"""Articles to a corpus folder, with several processes if need be."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np

from realm_tf import _constants, _version
from realm_tf._files import (
    check_disk_space,
    explain_full_disk,
    remove_leftover,
)
from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.articles import (
    ArticleFiles,
    ArticleSource,
    GivenArticles,
    Paths,
)
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_parts import PartCounts, PartTask
from realm_tf.data.corpus.corpus_workers import write_parts
from realm_tf.data.corpus.corpus_writer import write_corpus
from realm_tf.data.corpus.work_folder import open_work_folder
from realm_tf.data.text.featurizer import Featurizer

# Below this the import of TensorFlow in every process, 5 s, is not worth it.
_SMALL_BYTES = 32 * 2**20
# Space for a byte of the sources: half the text of a dump is markup, of which
# nothing is kept; of other files a build takes three times as much.
_LEAST_SPACE = 0.9


def build_corpus(
    sources: Paths | Iterable[Article],
    path: str | os.PathLike[str],
    featurizer: Featurizer,
    *,
    format: str = "auto",
    max_wordpieces: int = _constants.BLOCK_LENGTH,
    num_processes: int | None = None,
    skip_bad: bool = False,
    skip_navigation: bool | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> Corpus:
    """Builds the corpus folder of articles.

    Articles are read one at a time. A killed build leaves no corpus, but the
    finished parts in a hidden folder beside `path`; the same call with the same
    files resumes the build. A build takes about three times the space of the
    text. The folder is the same, byte for byte, for any number of processes.
    Of a Wikipedia dump, `Corpus.manifest.options` counts the most frequent
    templates within the text by name: `templates_kept`, `templates_left_out`.

    Args:
        sources: files and folders, see `ArticleFiles`; or `Article`s.
        path: the folder to write; must not exist.
        featurizer: its tokenizer makes the wordpieces.
        format: see `ArticleFiles`.
        max_wordpieces: see `split_into_blocks`.
        num_processes: processes that tokenize. By default 1 for up to 32 MiB
            of files, and one a core for more. With several, a script must
            call this under `if __name__ == "__main__":`.
        skip_bad: skip invalid records and count them in the manifest, in
            place of stopping at the first.
        skip_navigation: see `ArticleFiles`.
        force: start even if the disk has no room for it.
        progress: see `Progress`; its stage is "corpus", its units are blocks,
            estimated in all, and it counts `articles`.

    Returns:
        `Corpus`.

    Raises:
        FolderError: if `path` exists, or another process is building it.
        BadRecordError: at a bad record, unless `skip_bad`.
        ValueError: if two articles have the same id, or there is no text.
        OSError: if the disk has no room for it, or is full.

    Example:
    >>> import tempfile
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma"]
    >>> article = Article("12", "Emma", "Emma is a novel.")
    >>> folder = tempfile.mkdtemp() + "/corpus"
    >>> corpus = build_corpus([article], folder, Featurizer(words))
    >>> corpus[0].text
    'Emma is a novel.'
    """
    path = pathlib.Path(os.path.realpath(path))
    source = _open_source(sources, format, skip_bad, skip_navigation)
    num_processes = _checked_processes(num_processes, source)
    if not force:
        check_space(source, path)
    tally = _Tally(source, progress)
    plan = make_plan(source, featurizer, max_wordpieces)
    with open_work_folder(path, plan) as work:
        tasks = tally.unfinished(corpus_parts.cut_into_parts(source, work))
        advice = (
            "Free some space and run the same command again to resume, or "
            "remove that folder."
        )
        with explain_full_disk(work, advice):
            for counts in write_parts(
                tasks, featurizer, max_wordpieces, num_processes
            ):
                tally.add(counts)
        left_out = LeftOutCounts.of(source)
        join_parts(
            path,
            tally.parts,
            featurizer,
            max_wordpieces,
            tally.totals,
            left_out,
        )
    return Corpus.open(path, verify=False)


class LeftOutCounts(NamedTuple):
    """What sources hold beside the articles of parts.

    Args:
        num_bad: bad records.
        num_left_out: records that are no articles.
        num_files: files that hold no articles.
    """

    num_bad: int
    num_left_out: int
    num_files: int

    @classmethod
    def of(cls, source: ArticleSource) -> "LeftOutCounts":
        """Those of a source that was read."""
        return cls(
            source.num_bad, source.num_left_out, len(source.files_left_out)
        )


def check_space(source: ArticleSource, path: pathlib.Path) -> None:
    """Checks that the disk has room for the corpus of some articles.

    Raises:
        OSError: if it does not.
    """
    check_disk_space(path, int(_LEAST_SPACE * source.num_bytes))


def make_plan(
    source: ArticleSource, featurizer: Featurizer, max_wordpieces: int
) -> dict[str, Any] | None:
    """What decides the parts. Bad records do not: they are in none.

    Raises:
        ValueError: if `max_wordpieces` is too small.
    """
    if max_wordpieces < 4:
        raise ValueError(
            "`max_wordpieces` must leave room for a wordpiece beside [CLS] and "
            f"two [SEP]. Received: max_wordpieces={max_wordpieces}. Pass 4 or "
            "more."
        )
    if source.identity is None:
        return None
    return {
        "sources": source.identity,
        "skip_navigation": source.skip_navigation,
        "tokenizer": featurizer.fingerprint,
        "max_wordpieces": max_wordpieces,
        "part_characters": corpus_parts.PART_CHARACTERS,
        "cuts_long_sentences": True,
        "counts_templates": True,
        "library_version": _version.__version__,
    }


def join_parts(
    path: pathlib.Path,
    parts: Sequence[pathlib.Path],
    featurizer: Featurizer,
    max_wordpieces: int,
    totals: PartCounts,
    left_out: LeftOutCounts,
) -> None:
    """Writes the corpus folder of parts; the same, however they were cut.

    Args:
        path: the folder; must not exist.
        parts: files of finished parts, in the order of their blocks.
        featurizer: see `build_corpus`.
        max_wordpieces: see `build_corpus`.
        totals: sum of the counts of the parts.
        left_out: what is in no part.

    Raises:
        ValueError: if two articles have the same id, or there is no block.
        OSError: if the disk is full.
    """
    write_corpus(
        path,
        parts,
        token_dtype=token_dtype(featurizer.vocabulary_size),
        counts=manifest_counts(totals, left_out),
        fingerprints={"tokenizer": featurizer.fingerprint},
        options={
            "max_wordpieces": max_wordpieces,
            **corpus_parts.read_tally(parts).facts(),
        },
    )


def manifest_counts(
    totals: PartCounts, left_out: LeftOutCounts
) -> dict[str, int]:
    """Counts in the manifest of a corpus; see `join_parts`."""
    if not totals.num_blocks:
        raise ValueError(
            "`sources` must hold text. Received: "
            f"{totals.num_articles} articles without a wordpiece, "
            f"{left_out.num_bad} bad records. Check the sources and their "
            "format."
        )
    return {
        "num_blocks": totals.num_blocks,
        "num_documents": totals.num_documents,
        "num_articles": totals.num_articles,
        "num_bad_records": left_out.num_bad,
        "num_left_out": left_out.num_left_out + totals.num_left_out,
        "num_cut_sentences": totals.num_cut_sentences,
        "num_files_left_out": left_out.num_files,
    }


class _Tally:
    """Adds up finished work and reports to `progress`."""

    def __init__(self, source: ArticleSource, progress: Progress):
        self.parts: list[pathlib.Path] = []
        self.totals = PartCounts(0, 0, 0, 0)
        self._source = source
        self._progress = progress

    def add(self, counts: PartCounts) -> None:
        self.totals = self.totals.plus(counts)
        num_blocks, fraction = (
            self.totals.num_blocks,
            self._source.fraction_read,
        )
        self._progress(
            "corpus",
            num_blocks,
            round(num_blocks / fraction) if fraction else 0,
            {"articles": self.totals.num_articles},
        )

    def unfinished(self, tasks: Iterable[PartTask]) -> Iterator[PartTask]:
        """The tasks without those an earlier run has done."""
        for task in tasks:
            self.parts.append(task.path)
            counts = corpus_parts.read_counts(task.path)
            if counts is None:
                remove_leftover(task.path)
                yield task
            else:
                self.add(counts)


def _open_source(
    sources: Paths | Iterable[Article],
    format: str,
    skip_bad: bool,
    skip_navigation: bool | None,
) -> ArticleSource:
    def files(paths: Paths) -> ArticleFiles:
        return ArticleFiles(
            paths, format, skip_bad=skip_bad, skip_navigation=skip_navigation
        )

    if isinstance(sources, str | os.PathLike):
        return files(sources)
    items: Iterator[Any] = iter(sources)
    first = next(items, None)
    if first is None or isinstance(first, str | os.PathLike):
        return files([first, *items] if first else [])
    if not isinstance(first, Article):
        raise TypeError(
            "`sources` must be paths or articles. Received: "
            f"{type(first).__name__}. Make an `Article` of each."
        )
    whole: Any = sources if isinstance(sources, Sized) else None
    return GivenArticles(
        whole or itertools.chain([first], items),
        skip_bad=skip_bad,
        skip_navigation=skip_navigation,
    )


def _checked_processes(num_processes: int | None, source: ArticleSource) -> int:
    if num_processes is None:
        is_small = source.num_bytes <= _SMALL_BYTES
        return 1 if is_small else os.cpu_count() or 1
    if num_processes < 1:
        raise ValueError(
            "`num_processes` must be positive. Received: num_processes="
            f"{num_processes}. Leave it out for a number that fits."
        )
    return num_processes


def token_dtype(vocabulary_size: int) -> type[np.unsignedinteger]:
    """Type of wordpieces on the disk."""
    return np.uint16 if vocabulary_size <= 65_535 else np.uint32
