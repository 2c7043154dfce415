"""A corpus and a preset to an index version, on the workers of a pipeline."""

import dataclasses
import inspect
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from realm_tf.checkpoints.loading import load_parts
from realm_tf.checkpoints.presets import build
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_parts import read_part, save_arrays
from realm_tf.engine.fingerprints import embedder_fingerprint
from realm_tf.engine.text_embedder import TextEmbedder, num_chunks
from realm_tf.errors import FolderError, MismatchError
from realm_tf.models.projection import fit_projection
from realm_tf.pipelines.pipeline_run import run_pipeline
from realm_tf.pipelines.shared_work import SharedWork, count
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.searchers.embedding_matrix import bad_rows


class BuildIndex(beam.PTransform):
    """Builds the next version of an index, as `RealmQA.build_index` does.

    Workers embed runs of blocks and write the embeddings into a hidden folder
    beside `path`; one last step writes the version, with its lexical part and
    its searcher. On equal processors the version is the same, byte for byte, as
    that of `RealmQA.build_index`. Preset, corpus and `path` must be on a disk
    that all workers share. A worker process loads the model once. Counters of
    the pipeline, in the namespace `realm_tf`: `blocks`, `bad_embeddings`. They
    may count a retried step twice; the counts in the manifest do not.

    Begins a pipeline; its output is one element, the path of the index. In a
    pipeline of yours, only the first and the last step keep other writers out;
    `run` does so all the time.

    Args:
        preset: see `RealmQA.from_preset`.
        corpus: path of the corpus folder.
        path: the index folder; a new version is added to one that exists.
        precision: dtype policy of the model, such as "mixed_bfloat16".
            Defaults to Keras' global one.
        **options: of `BlockIndex.build`, such as `searcher`.

    Raises:
        FolderError: if the corpus is missing or damaged.
        TypeError: if an option is unknown.

    Example:
    ```python
    with beam.Pipeline() as pipeline:
        pipeline | BuildIndex("realm_minilm_en", "corpus", "index")
    ```
    """

    def __init__(
        self,
        preset: str | os.PathLike[str],
        corpus: str | os.PathLike[str],
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        **options: Any,
    ):
        super().__init__()
        opened = Corpus.open(corpus, verify=False)
        inspect.signature(BlockIndex.build).bind(
            path, opened, (), embedder_fingerprint="", **options
        )
        path = pathlib.Path(os.path.realpath(path))
        preset = os.fspath(preset)
        plan = {
            "corpus": opened.fingerprint,
            "preset": preset,
            "precision": precision,
        }
        self._build = _Build(
            # The index may be there already; its embeddings are what is built.
            SharedWork(path.with_name(f"{path.name}.embeddings"), plan),
            preset,
            precision,
            os.path.realpath(corpus),
            num_chunks(opened),
            path,
            options,
        )

    def expand(self, pbegin: Any) -> beam.PCollection:
        return (
            pbegin
            | "Start" >> beam.Create([None])
            | "Open" >> beam.ParDo(_Open(self._build))
            | "SpreadChunks" >> beam.Reshuffle()
            | "Embed" >> beam.ParDo(_Embed(self._build))
            | "Collect" >> beam.combiners.ToList()
            | "Index" >> beam.ParDo(_Index(self._build))
        )

    def run(self, runner: str = "DirectRunner", *options: str) -> BlockIndex:
        """Runs a pipeline of this transform alone.

        A run that failed keeps its embeddings, which the same run resumes.

        Args:
            runner: see `run_pipeline`.
            *options: see `run_pipeline`.

        Raises:
            LockedError: if another process is building it.
            PipelineError: if a step failed, or a worker died.
            ValueError: if Beam does not know the runner or an option.
        """
        with self._build.work.held():
            run_pipeline(self, runner, options)
        corpus = Corpus.open(self._build.corpus, verify=False)
        return BlockIndex.open(self._build.path, corpus, verify=False)


class _Model:
    """What embeds on a worker, for one thread at a time."""

    def __init__(self, preset: str, precision: str | None, corpus: str):
        parts, _ = load_parts(preset, dtype=precision)
        embedder, featurizer = parts.block_embedder, parts.featurizer
        build(embedder)
        self.corpus = Corpus.open(corpus, verify=False)
        if not parts.options.get("projection_fitted", True):
            weights = fit_projection(embedder, featurizer, self.corpus)
            embedder.projection.set_weights(weights)
        self.fingerprint = embedder_fingerprint(embedder, featurizer)
        self._embedding = TextEmbedder(embedder, featurizer)
        self._lock = threading.Lock()

    def chunk(self, i: int) -> np.ndarray:
        with self._lock:
            return self._embedding.chunk(self.corpus, i)


@dataclasses.dataclass(frozen=True)
class _Build:
    """What every step is told."""

    work: SharedWork
    preset: str
    precision: str | None
    corpus: str
    num_chunks: int
    path: pathlib.Path
    options: dict[str, Any]
    shared: Shared = dataclasses.field(default_factory=Shared)

    def model(self) -> _Model:
        """One a process."""
        return self.shared.acquire(self._new_model)

    def chunk_path(self, i: int) -> pathlib.Path:
        return self.work.folder / f"chunk-{i:06}.npz"

    def _new_model(self) -> _Model:
        return _Model(self.preset, self.precision, self.corpus)


class _Step(beam.DoFn):
    def __init__(self, build: _Build):
        self.build = build


class _Open(_Step):
    def process(self, _: Any) -> Iterator[Any]:
        with self.build.work.opened(keep=True):
            yield from range(self.build.num_chunks)


class _Embed(_Step):
    def setup(self) -> None:
        self.model = self.build.model()

    def process(self, i: Any) -> Iterator[Any]:
        path, fingerprint = self.build.chunk_path(i), self.model.fingerprint
        with self.build.work.working():
            if not _is_embedded(path, fingerprint):
                embeddings = self.model.chunk(i)
                arrays = {
                    "embeddings": embeddings,
                    "embedder": np.array(fingerprint),
                }
                save_arrays(path, arrays)
                count("blocks", len(embeddings))
                count("bad_embeddings", len(bad_rows(embeddings)))
        yield i, fingerprint


class _Index(_Step):
    def process(self, results: Any) -> Iterator[str]:
        build = self.build
        fingerprints = {fingerprint for _, fingerprint in results}
        if len(fingerprints) != 1:
            raise MismatchError(
                "All workers must embed with the same model. Received: "
                f"fingerprints {sorted(f[:8] for f in fingerprints)} of "
                f"{build.preset}. Put the preset into a folder that all "
                "workers share, and start again."
            )
        with build.work.opened(keep=False):
            BlockIndex.build(
                build.path,
                Corpus.open(build.corpus, verify=False),
                (
                    read_part(build.chunk_path(i), "embeddings")["embeddings"]
                    for i in range(build.num_chunks)
                ),
                embedder_fingerprint=fingerprints.pop(),
                **build.options,
            )
        yield str(build.path)


def _is_embedded(path: pathlib.Path, fingerprint: str) -> bool:
    """Whether an earlier run has embedded a chunk with the same model."""
    try:
        return str(read_part(path)["embedder"]) == fingerprint
    except (FolderError, KeyError):
        return False
