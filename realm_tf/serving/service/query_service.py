"""QueryService: answers from a bundle and updates its index."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from typing import Any, TypeVar

from realm_tf.data.corpus.article import ArticleLike
from realm_tf.data.corpus.documents import cut_documents
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import (
    BackendError,
    BadRequestError,
    FolderError,
    GivenUpError,
    MismatchError,
    ServiceUnavailableError,
)
from realm_tf.options import ServiceOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.backends.backend import MODELS, Backend
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QUERY_EMBEDDER,
    READER,
    Bundle,
)
from realm_tf.serving.service.answer_pipeline import (
    Answered,
    AnswerPipeline,
    Found,
)
from realm_tf.serving.service.bundle_watch import BundleWatch
from realm_tf.serving.service.circuit_breaker import CircuitBreaker
from realm_tf.serving.service.model_probe import ModelProbe
from realm_tf.serving.service.run_to_the_end import run_to_the_end
from realm_tf.serving.service.served_index import ServedIndex
from realm_tf.serving.service.service_metrics import ServiceMetrics
from realm_tf.serving.service.writer_role import WRITER, WriterRole

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_THREADS = 16
_PROBE_WORDS = 8
_LOOKS_PER_RECALL_PROBE = 15


class QueryService:
    """Answers questions with a bundle's index, texts and models.

    Belongs to one event loop. What is slow runs in threads.

    Args:
        folder: the bundle.
        open_backend: makes the `Backend`; called in a thread, and again until
            it succeeds.
        options: `ServiceOptions`.

    Raises:
        FolderError: if `folder` is no bundle. One without a corpus and an
            index is never ready.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        open_backend: Callable[[], Backend],
        options: ServiceOptions | None = None,
    ):
        self.options = options or ServiceOptions()
        self.metrics = ServiceMetrics()
        self.exports = BundleWatch(folder)
        bundle = self.exports.newest
        self.index = ServedIndex(
            bundle.path / (bundle.index or "index"),
            bundle.path / (bundle.corpus or "corpus"),
        )
        self.role = WriterRole(
            self.index.index_path,
            url=self.options.url,
            is_reader=self.options.reader,
        )
        # What is wrong, by the loop that found it.
        self._problems = {
            "exports": "The service is starting.",
            "models": "",
            "role": "",
        }
        self._open_backend = open_backend
        self._backend: Backend | None = None
        self._featurizer: Featurizer | None = None
        self._pipeline: AnswerPipeline | None = None
        # One each: answers of one model say nothing about another.
        self._breakers = {
            name: CircuitBreaker(self.options.failures_to_open)
            for name in MODELS
        }
        self._executor = concurrent.futures.ThreadPoolExecutor(
            _THREADS, thread_name_prefix="realm"
        )
        self._writing = asyncio.Lock()  # leaves the threads to those who ask
        self._stopping = threading.Event()
        self._has_answered = False
        self._opened = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []
        self._probe = ModelProbe(self._breakers, self._executor)

    @property
    def problem(self) -> str:
        """What is wrong, in words, or ""."""
        problems = self._problems
        return problems["models"] or problems["exports"] or problems["role"]

    @property
    def is_ready(self) -> bool:
        """Whether a question was answered, and more can be."""
        return self._has_answered and not any(
            self._breakers[name].is_open for name in (QUERY_EMBEDDER, READER)
        )

    async def start(self) -> None:
        """Opens everything in the background, and looks for new versions."""
        self._watching = [
            asyncio.create_task(self._watch("exports", self._follow_exports)),
            asyncio.create_task(self._watch("models", self._keep_models)),
            asyncio.create_task(self._watch("role", self._seek_role)),
        ]

    async def stop(self) -> None:
        """Stops the service and frees its models."""
        self._has_answered = False
        self._stopping.set()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.role.give_back()
        if self._backend is not None:
            self._backend.close()

    async def ask(
        self,
        questions: Sequence[str],
        *,
        top_k: int | None = None,
        num_alternatives: int = 4,
        threshold: float | None = None,
    ) -> list[Answered]:
        """Answers questions, each with its evidence.

        Args:
            questions: texts that `check_questions` accepts.
            top_k: blocks retrieved; default: as many as are read.
            num_alternatives: most other answers, of those the reader exports.
            threshold: probability an answer needs for `Answer.found`;
                default: that of the reader's calibration.

        Raises:
            ServiceUnavailableError: if there is no answer for now.
        """
        async with self._answering("ask") as pipeline:
            answered = await asyncio.gather(
                *(
                    pipeline.answer(
                        question,
                        top_k=top_k,
                        num_alternatives=num_alternatives,
                        threshold=threshold,
                    )
                    for question in questions
                )
            )
        self._has_answered = not self._stopping.is_set()
        return answered

    async def search(
        self, questions: Sequence[str], *, top_k: int
    ) -> list[Found]:
        """Retrieves blocks without reading them; see `ask`."""
        async with self._answering("retrieve") as pipeline:
            return await asyncio.gather(
                *(pipeline.retrieve(question, top_k) for question in questions)
            )

    async def add_documents(
        self, documents: Iterable[ArticleLike]
    ) -> tuple[BlockIndex, int]:
        """Adds or replaces documents; they are on the disk afterwards.

        Returns:
            The index that holds them, and how many blocks they were cut into.

        Raises:
            BadRequestError: if a document has no id or no text.
            NotWriterError: if another service makes the changes.
            ServiceUnavailableError: if the models give no answer for now;
                nothing is added then.
        """
        given_up = threading.Event()

        def check_wanted() -> None:
            if given_up.is_set() or self._stopping.is_set():
                raise GivenUpError("The service stops, or took too long.")

        def add() -> tuple[BlockIndex, int, int]:
            assert self._featurizer is not None
            backend = self._require_writable().backend
            if self.exports.problem:
                raise ServiceUnavailableError(self.exports.problem, 60.0)
            try:
                blocks = cut_documents(
                    documents, self._featurizer, check_wanted
                )
            except (TypeError, ValueError) as error:
                raise BadRequestError(str(error)) from error
            embedded = self._breakers[BLOCK_EMBEDDER].call(
                backend.embed_blocks,
                [block.title for block in blocks],
                [block.text for block in blocks],
                before_part=check_wanted,
            )
            check_wanted()
            index = self.index.add(
                blocks, embedded.embeddings, embedded.fingerprint
            )
            names = {block.document_id for block in blocks}
            return index, len(blocks), len(names)

        async with self._answering("documents"), self._writing:
            index, num_blocks, num_documents = await run_to_the_end(
                self._executor, add, given_up
            )
        self.metrics.documents.labels("added").inc(num_documents)
        return index, num_blocks

    async def delete_documents(self, document_ids: Iterable[str]) -> BlockIndex:
        """Deletes documents; gone from the disk afterwards.

        Raises:
            UnknownDocumentError: if one does not exist; none is deleted.
            NotWriterError: if another service makes the changes.
        """
        ids = list(document_ids)

        def delete() -> BlockIndex:
            self._require_writable()
            return self.index.delete(ids)

        async with self._answering("documents"), self._writing:
            index = await run_to_the_end(self._executor, delete)
        self.metrics.documents.labels("deleted").inc(len(ids))
        return index

    async def switch_index(self, roll_back_to: int | None = None) -> None:
        """Swaps to the newest index version, or rolls back to an older one.

        Raises:
            FolderError: if the version is missing or damaged.
            MismatchError: if it belongs to other models.
            NotWriterError: if another service makes the changes.
        """
        self._require_pipeline()

        def roll_back(version: int) -> None:
            self.role.require()
            self.index.roll_back(version)

        try:
            if roll_back_to is None:
                await self._in_thread(self.index.refresh)
            else:
                await self._in_thread(roll_back, roll_back_to)
        except (FolderError, MismatchError):
            self.metrics.errors.labels("index").inc()
            raise

    async def compact_index(self) -> None:
        """Folds added and deleted documents into a new corpus and version.

        Takes as long as copying the corpus and building the index. Questions
        are answered meanwhile; changes of documents wait, and get 503 if that
        is too long.

        Raises:
            FolderError: if the index is damaged.
            LockedError: if another process is writing it.
            MismatchError: if the corpus has another tokenizer.
            NotWriterError: if another service makes the changes.
            ServiceUnavailableError: if a new export is not in service yet.
        """

        def compact() -> None:
            self._require_writable()
            assert self._featurizer is not None
            self.index.compact(self._featurizer)

        async with self._writing:
            await run_to_the_end(self._executor, compact)

    async def index_status(self) -> dict[str, Any]:
        """See `ServedIndex.status`; and the role of the service."""
        self._require_pipeline()
        status = await self._in_thread(self.index.status)
        return {"role": self.role.name} | status

    def exposition(self) -> bytes:
        """The current metrics, as Prometheus reads them."""
        metrics, index = self.metrics, self.index.in_use
        metrics.ready.set(self.is_ready)
        metrics.writer.set(self.role.name == WRITER)
        for name, breaker in self._breakers.items():
            metrics.backend_open.labels(name).set(breaker.is_open)
        if self._pipeline is not None:
            for stage, waiting in self._pipeline.queues.items():
                metrics.queue.labels(stage).set(waiting)
        if index is not None:
            metrics.index_version.set(index.version)
            metrics.index_age.set(self.index.age(index))
            metrics.index_blocks.set(index.num_blocks)
            metrics.index_updates.set(index.num_updates)
        return metrics.exposition()

    def _require_pipeline(self) -> AnswerPipeline:
        if self._pipeline is None:
            raise ServiceUnavailableError(self.problem)
        return self._pipeline

    def _require_writable(self) -> AnswerPipeline:
        """The pipeline, if changes are made here and its index has a future.

        Reads and writes files.
        """
        pipeline = self._require_pipeline()
        self.role.require()
        self.exports.look()
        if self._is_behind(pipeline):
            raise ServiceUnavailableError(
                "The bundle has a new export. Documents can be changed as soon "
                "as its models are in service. Retry.",
                5.0,
            )
        return pipeline

    def _is_behind(self, pipeline: AnswerPipeline) -> bool:
        """Whether the newest index version belongs to another embedder."""
        newest = self.exports.newest.embedder_fingerprint
        return newest != pipeline.bundle.embedder_fingerprint

    async def _in_thread(self, function: Callable[..., _T], *args: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *args)

    @contextlib.asynccontextmanager
    async def _answering(self, stage: str) -> AsyncIterator[AnswerPipeline]:
        """Times a request, and turns temporary failures into one error."""
        pipeline, errors = self._require_pipeline(), self.metrics.errors
        try:
            with self.metrics.timed(stage):
                async with asyncio.timeout(self.options.request_timeout):
                    yield pipeline
        except TimeoutError as error:
            errors.labels("timeout").inc()
            raise ServiceUnavailableError(
                "The request was not answered within "
                f"{self.options.request_timeout:g} s. Retry, or ask fewer "
                "questions at once."
            ) from error
        except ServiceUnavailableError:
            errors.labels("backend").inc()
            raise
        except (FolderError, MismatchError) as error:
            errors.labels("mismatch").inc()
            if stage != "documents":
                self._has_answered = False  # until a question is answered
            raise ServiceUnavailableError(str(error), 5.0) from error

    async def _watch(
        self, name: str, look: Callable[[int], Awaitable[str]]
    ) -> None:
        """Looks for as long as the service runs, and says what is wrong."""
        number = 0
        while True:
            try:
                self._problems[name] = await look(number)
                number += 1
            except Exception as error:
                kind = "index" if isinstance(error, ValueError) else "backend"
                if str(error) != self._problems[name]:
                    self.metrics.errors.labels(kind).inc()
                    logger.warning("%s", error)
                self._problems[name] = str(error)
            await asyncio.sleep(self.options.watch_interval)

    async def _follow_exports(self, _: int) -> str:
        """Turns to a new export, once all of it is there.

        Requests that began before keep the old one.
        """
        await self._in_thread(self.exports.look)
        newest = self.exports.newest
        if self._pipeline is None or self._pipeline.bundle != newest:
            self._pipeline = await self._in_thread(self._open, newest)
            for name in newest.models.keys() & self._breakers:
                self._breakers[name].close()
            self._opened.set()
        return self.exports.problem

    async def _keep_models(self, look: int) -> str:
        """Proves the models, and looks for index versions."""
        await self._opened.wait()
        pipeline = self._require_pipeline()
        try:
            await self._probe.run(pipeline.backend, pipeline.bundle.num_read)
        except ServiceUnavailableError:
            self._has_answered = False
            raise
        if not self.is_ready:
            await self.ask([self._probe_question()])
            logger.info("The service is ready.")
        if not self._is_behind(pipeline):
            await self._in_thread(self._refresh_index, pipeline.bundle)
        if look % _LOOKS_PER_RECALL_PROBE == 0:
            recall = await self._in_thread(pipeline.measure_recall)
            self.metrics.index_recall.set(recall)
        return ""

    async def _seek_role(self, _: int) -> str:
        """Becomes the writer if there is none.

        Not before all is open: until then another service does better.
        """
        await self._opened.wait()
        try:
            await self._in_thread(self.role.take)
        except OSError as error:
            return (
                f"Documents cannot be changed: {error}. Let the service write "
                "the index, or start it with `--reader`."
            )
        return ""

    def _refresh_index(self, bundle: Bundle) -> None:
        # Late answers of the last export may have turned to its index.
        self.index.acquire(bundle.embedder_fingerprint).follow()
        self.index.refresh(retry=False)

    def _open(self, bundle: Bundle) -> AnswerPipeline:
        """Opens featurizer, models and index of an export; slow."""
        if bundle.index is None or bundle.corpus is None:
            raise FolderError(
                "A bundle must hold a corpus and an index to answer from. "
                f"Received: {bundle.path} without. Export it with `realm-tf "
                "export --corpus`."
            )
        if self._featurizer is None:
            self._featurizer = bundle.open_featurizer()
        if self._backend is None:
            self._backend = self._open_backend()
        # Kept also if the rest fails: what is loaded is not loaded again.
        self._backend = backend = self._backend.of_export(bundle)
        if self._pipeline is not None:
            try:
                backend.check_export(bundle)
            except (BackendError, MismatchError) as error:
                raise BackendError(
                    "The service stays with the last export until the models "
                    f"of the new one answer. {error}"
                ) from error
        self.index.acquire(bundle.embedder_fingerprint)
        return AnswerPipeline(
            bundle,
            backend,
            self.index,
            self._executor,
            breakers=self._breakers,
            metrics=self.metrics,
            max_batch_size=self.options.max_batch_size,
        )

    def _probe_question(self) -> str:
        """A question for which surely something can be read."""
        index = self.index.in_use
        words = ["Ready"]
        if index is not None and index.corpus.num_blocks:
            words = index.corpus[0].text.split()[:_PROBE_WORDS]
        return " ".join([*words, "?"])
