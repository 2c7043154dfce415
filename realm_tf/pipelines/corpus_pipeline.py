"""Articles to a corpus folder, on the workers of a Beam pipeline."""

import dataclasses
import functools
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.utils.shared import Shared

from realm_tf import _constants, _manifest
from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.articles import ArticleFiles, Paths
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import (
    LeftOutCounts,
    check_space,
    join_parts,
    make_plan,
    manifest_counts,
)
from realm_tf.data.corpus.corpus_parts import PartCounts, PartTask
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.pipelines.pipeline_run import run_pipeline
from realm_tf.pipelines.shared_work import SharedWork, count

# What a worker reads at a time. One file is never divided.
_SHARD_BYTES = 32 * 2**20


class BuildCorpus(beam.PTransform):
    """Builds the corpus folder of files, as `build_corpus` does.

    Workers read files, cut their articles into parts and write the parts into
    a hidden folder beside `path`; one last step joins them. The folder is the
    same, byte for byte, as that of `build_corpus`. Sources and `path` must be
    on a disk that all workers share. Counters of the pipeline, in the namespace
    `realm_tf`: `articles`, `blocks`, `bad_records`, `left_out`. They may count
    a retried step twice; the counts in the manifest do not.

    Begins a pipeline; its output is one element, the path of the corpus. In a
    pipeline of yours, only the first and the last step keep other writers out;
    `run` does so all the time.

    Args:
        sources: files and folders, see `ArticleFiles`. Several workers share
            the files, and the articles of a large one.
        path: the folder to write; must not exist.
        featurizer: its tokenizer makes the wordpieces.
        format: see `ArticleFiles`.
        max_wordpieces: see `split_into_blocks`.
        skip_bad: skip invalid records and count them in the manifest, in
            place of failing at the first.
        skip_navigation: see `ArticleFiles`.
        force: start even if the disk has no room for it.

    Raises:
        OSError: if the disk has no room for it.
        ValueError: if there is no file, or an argument is bad.

    Example:
    ```python
    with beam.Pipeline() as pipeline:
        pipeline | BuildCorpus("articles", "corpus", qa.featurizer)
    ```
    """

    def __init__(
        self,
        sources: Paths,
        path: str | os.PathLike[str],
        featurizer: Featurizer,
        *,
        format: str = "auto",
        max_wordpieces: int = _constants.BLOCK_LENGTH,
        skip_bad: bool = False,
        skip_navigation: bool | None = None,
        force: bool = False,
    ):
        super().__init__()
        source = ArticleFiles(
            sources, format, skip_bad=skip_bad, skip_navigation=skip_navigation
        )
        path = pathlib.Path(os.path.realpath(path))
        if not force:
            check_space(source, path)
        plan = make_plan(source, featurizer, max_wordpieces) or {}
        self._build = _Build(
            SharedWork(
                path,
                plan | {"shard_bytes": _SHARD_BYTES},
            ),
            featurizer.vocabulary,
            featurizer.get_config(),
            max_wordpieces,
            len(source.files_left_out),
        )
        self._shards = [
            _Shard(number, files, files.identity)
            for number, files in enumerate(source.shards(_SHARD_BYTES))
        ]

    def expand(self, pbegin: Any) -> beam.PCollection:
        return (
            pbegin
            | "Start" >> beam.Create([None])
            | "Open" >> beam.ParDo(_Open(self._build, self._shards))
            | "SpreadFiles" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self._build))
            | "SpreadParts" >> beam.Reshuffle()
            | "WriteParts" >> beam.ParDo(_WriteParts(self._build))
            | "Collect" >> beam.combiners.ToList()
            | "Join" >> beam.ParDo(_Join(self._build))
        )

    def run(self, runner: str = "DirectRunner", *options: str) -> Corpus:
        """Runs a pipeline of this transform alone.

        A run that failed keeps its finished parts, which the same run resumes.

        Args:
            runner: see `run_pipeline`.
            *options: see `run_pipeline`.

        Raises:
            FolderError: if `path` exists.
            LockedError: if another process is building it.
            PipelineError: if a step failed, or a worker died.
            ValueError: if Beam does not know the runner or an option.
        """
        with self._build.work.held():
            run_pipeline(self, runner, options)
        return Corpus.open(self._build.work.path, verify=False)


class _Shard(NamedTuple):
    """Files that one worker reads, and their sizes and times at the start."""

    number: int
    files: ArticleFiles
    identity: list[list[Any]]

    def check(self) -> None:
        try:
            found = self.files.identity
        except FileNotFoundError as error:
            raise FolderError(
                "`sources` must be seen by every worker until the pipeline "
                f"ends. Received: no {error.filename} on "
                f"{socket.gethostname()}. Take a folder that all workers share."
            ) from error
        for (path, *now), (_, *before) in zip(
            found, self.identity, strict=True
        ):
            if now != before:
                raise FolderError(
                    f"{path} must not change while it is read. Received: "
                    f"{now[0]} bytes, {before[0]} at the start of the "
                    "pipeline. Start it again."
                )


class _ShardCounts(NamedTuple):
    number: int
    left_out: LeftOutCounts


class _WrittenPart(NamedTuple):
    path: pathlib.Path
    counts: PartCounts


@dataclasses.dataclass(frozen=True)
class _Build:
    """What every step is told."""

    work: SharedWork
    vocabulary: tuple[str, ...]
    config: dict[str, Any]
    max_wordpieces: int
    num_files_left_out: int
    shared: Shared = dataclasses.field(default_factory=Shared)

    def featurizer(self) -> Featurizer:
        """One a process."""
        return self.shared.acquire(self._new_featurizer)

    def _new_featurizer(self) -> Featurizer:
        return Featurizer(self.vocabulary, **self.config)


class _Step(beam.DoFn):
    def __init__(self, build: _Build):
        self.build = build


class _Open(_Step):
    def __init__(self, build: _Build, shards: list[_Shard]):
        super().__init__(build)
        self.shards = shards

    def process(self, _: Any) -> Iterator[Any]:
        with self.build.work.opened(keep=True):
            yield from self.shards


class _Read(_Step):
    def process(self, shard: Any) -> Iterator[Any]:
        shard.check()
        folder = self.build.work.folder / f"shard-{shard.number:06}"
        with self.build.work.working():
            folder.mkdir(exist_ok=True)
            yield from corpus_parts.cut_into_parts(shard.files, folder)
        shard.check()
        left_out = LeftOutCounts.of(shard.files)
        count("bad_records", left_out.num_bad)
        count("left_out", left_out.num_left_out)
        yield _ShardCounts(shard.number, left_out)


class _WriteParts(_Step):
    def setup(self) -> None:
        self.featurizer = self.build.featurizer()

    def process(self, item: Any) -> Iterator[Any]:
        if not isinstance(item, PartTask):
            yield item
            return
        with self.build.work.working():
            counts = corpus_parts.read_counts(item.path)
            if counts is None:
                counts = corpus_parts.write_part(
                    item, self.featurizer, self.build.max_wordpieces
                )
        count("articles", counts.num_articles)
        count("left_out", counts.num_left_out)
        count("blocks", counts.num_blocks)
        yield _WrittenPart(item.path, counts)


class _Join(_Step):
    def setup(self) -> None:
        self.featurizer = self.build.featurizer()

    def process(self, results: Any) -> Iterator[str]:
        # By name: no part counts twice, whatever was retried.
        parts = {
            r.path: r.counts for r in results if isinstance(r, _WrittenPart)
        }
        shards = {
            r.number: r.left_out for r in results if isinstance(r, _ShardCounts)
        }
        totals = functools.reduce(
            PartCounts.plus, parts.values(), PartCounts(0, 0, 0, 0)
        )
        left_out = LeftOutCounts(
            sum(counts.num_bad for counts in shards.values()),
            sum(counts.num_left_out for counts in shards.values()),
            self.build.num_files_left_out,
        )
        path = self.build.work.path
        if not self._is_joined(manifest_counts(totals, left_out)):
            with self.build.work.opened(keep=False):
                join_parts(
                    path,
                    sorted(parts),
                    self.featurizer,
                    self.build.max_wordpieces,
                    totals,
                    left_out,
                )
        yield str(path)

    def _is_joined(self, counts: dict[str, int]) -> bool:
        """Whether a run of this step that was lost has done all of it."""
        try:
            found = _manifest.read_manifest(
                self.build.work.path, "corpus", verify=False
            )
        except FolderError:
            return False
        tokenizer = {"tokenizer": self.featurizer.fingerprint}
        return (found.counts, found.fingerprints) == (counts, tokenizer)
