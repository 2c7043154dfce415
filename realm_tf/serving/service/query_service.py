"""QueryService: answers from a bundle and updates its index."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

from realm_tf.data.corpus.article import ArticleLike
from realm_tf.data.corpus.documents import cut_documents
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import (
    BackendError,
    BackendFullError,
    BadRequestError,
    FolderError,
    GivenUpError,
    MismatchError,
    ServiceUnavailableError,
)
from realm_tf.options import ServiceOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.backends.backend import MODELS, Backend
from realm_tf.serving.bundle import BLOCK_EMBEDDER, QUERY_EMBEDDER, READER
from realm_tf.serving.service.answer_pipeline import (
    Answered,
    AnswerPipeline,
    Found,
)
from realm_tf.serving.service.bundle_watch import BundleWatch
from realm_tf.serving.service.circuit_breaker import CircuitBreaker
from realm_tf.serving.service.run_to_the_end import run_to_the_end
from realm_tf.serving.service.served_index import ServedIndex
from realm_tf.serving.service.service_metrics import ServiceMetrics

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_THREADS = 16
_PROBE_WORDS = 8
_LOOKS_PER_RECALL_PROBE = 15
_SECONDS_UNPROVEN = 2.0  # without an answer, after which models are probed
_PROBE_SECONDS = 15.0  # for a model, busy perhaps, to answer a probe


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
        bundle = self.exports.bundle
        self.index = ServedIndex(
            bundle.path / (bundle.index or "index"),
            bundle.path / (bundle.corpus or "corpus"),
        )
        self.problem = "The service is starting."
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
        self._watching: asyncio.Task[None] | None = None
        self._probe: asyncio.Future[None] | None = None  # in progress

    @property
    def is_ready(self) -> bool:
        """Whether a question was answered, and more can be."""
        return self._has_answered and not any(
            self._breakers[name].is_open for name in (QUERY_EMBEDDER, READER)
        )

    async def start(self) -> None:
        """Opens everything in the background, and looks for new versions."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stops the service and frees its models."""
        self._has_answered = False
        self._stopping.set()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._executor.shutdown(wait=False, cancel_futures=True)
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
            ServiceUnavailableError: if the models give no answer for now;
                nothing is added then.
        """
        given_up = threading.Event()

        def check_wanted() -> None:
            if given_up.is_set() or self._stopping.is_set():
                raise GivenUpError("The service stops, or took too long.")

        def add() -> tuple[BlockIndex, int, int]:
            assert self._backend is not None and self._featurizer is not None
            self.exports.look()
            if self.exports.problem:
                raise ServiceUnavailableError(self.exports.problem, 60.0)
            try:
                blocks = cut_documents(
                    documents, self._featurizer, check_wanted
                )
            except (TypeError, ValueError) as error:
                raise BadRequestError(str(error)) from error
            embedded = self._breakers[BLOCK_EMBEDDER].call(
                self._backend.embed_blocks,
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
        """
        ids = list(document_ids)
        async with self._answering("documents"), self._writing:
            index = await run_to_the_end(
                self._executor, lambda: self.index.delete(ids)
            )
        self.metrics.documents.labels("deleted").inc(len(ids))
        return index

    async def switch_index(self, roll_back_to: int | None = None) -> None:
        """Swaps to the newest index version, or rolls back to an older one.

        Raises:
            FolderError: if the version is missing or damaged.
            MismatchError: if it belongs to other models.
        """
        self._require_pipeline()
        try:
            if roll_back_to is None:
                await self._in_thread(self.index.refresh)
            else:
                await self._in_thread(self.index.roll_back, roll_back_to)
        except (FolderError, MismatchError):
            self.metrics.errors.labels("index").inc()
            raise

    async def index_status(self) -> dict[str, Any]:
        """See `ServedIndex.status`."""
        self._require_pipeline()
        return await self._in_thread(self.index.status)

    def exposition(self) -> bytes:
        """The current metrics, as Prometheus reads them."""
        metrics, index = self.metrics, self.index.in_use
        metrics.ready.set(self.is_ready)
        for name, breaker in self._breakers.items():
            metrics.backend_open.labels(name).set(breaker.is_open)
        if self._pipeline is not None:
            for stage, waiting in self._pipeline.queues.items():
                metrics.queue.labels(stage).set(waiting)
        if index is not None:
            metrics.index_version.set(index.version)
            metrics.index_age.set(self.index.age(index))
            metrics.index_blocks.set(index.num_blocks)
        return metrics.exposition()

    def _require_pipeline(self) -> AnswerPipeline:
        if self._pipeline is None:
            raise ServiceUnavailableError(self.problem)
        return self._pipeline

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

    async def _watch(self) -> None:
        """Opens, proves and refreshes, for as long as the service runs."""
        look = 0
        while True:
            try:
                await self._look(look)
                look += 1
            except Exception as error:
                kind = "index" if isinstance(error, ValueError) else "backend"
                if str(error) != self.problem:
                    self.metrics.errors.labels(kind).inc()
                    logger.warning("%s", error)
                self.problem = str(error)
            await asyncio.sleep(self.options.watch_interval)

    async def _look(self, look: int) -> None:
        if self._pipeline is None:
            self._pipeline = await self._in_thread(self._open)
        assert self._backend is not None
        try:
            await self._probe_models()
            if not self.is_ready:
                await self.ask([self._probe_question()])
                logger.info("The service is ready.")
        finally:  # newer models may be what is missing
            await self._in_thread(self._backend.refresh)
        await self._in_thread(lambda: self.index.refresh(retry=False))
        if look % _LOOKS_PER_RECALL_PROBE == 0:
            recall = await self._in_thread(self._pipeline.measure_recall)
            self.metrics.index_recall.set(recall)
        await self._in_thread(self.exports.look)
        self.problem = self.exports.problem

    async def _probe_models(self) -> None:
        """Asks models that have not answered lately, whatever the breakers say.

        So a server that nobody asks is missed when it dies, and used soon
        after its return.

        Raises:
            ServiceUnavailableError: if a model does not answer.
        """
        assert self._backend is not None
        breakers = [self._breakers[name] for name in (QUERY_EMBEDDER, READER)]
        if max(b.idle_seconds for b in breakers) < _SECONDS_UNPROVEN:
            return
        if self._probe is None:
            self._probe = asyncio.ensure_future(
                self._in_thread(
                    self._backend.probe, self.exports.bundle.num_read
                )
            )
        try:
            await asyncio.wait_for(asyncio.shield(self._probe), _PROBE_SECONDS)
        except BackendFullError:
            pass  # it answers others
        except (BackendError, TimeoutError) as error:
            if max(b.idle_seconds for b in breakers) < _SECONDS_UNPROVEN:
                return  # it answers others
            self._has_answered = False
            raise ServiceUnavailableError(
                str(error) or "The models do not answer."
            ) from error
        finally:
            if self._probe.done():
                self._probe = None
        for breaker in breakers:
            breaker.close()

    def _open(self) -> AnswerPipeline:
        """Opens backend, featurizer and index; slow."""
        bundle = self.exports.bundle
        if bundle.index is None or bundle.corpus is None:
            raise FolderError(
                "A bundle must hold a corpus and an index to answer from. "
                f"Received: {bundle.path} without. Export it with `realm-tf "
                "export --corpus`, and restart the service."
            )
        if self._featurizer is None:
            self._featurizer = bundle.open_featurizer()
        if self._backend is None:
            self._backend = self._open_backend()
        self.index.acquire(bundle.embedder_fingerprint)
        return AnswerPipeline(
            self._backend,
            self.index,
            self._executor,
            exports=self.exports,
            breakers=self._breakers,
            metrics=self.metrics,
            num_read=bundle.num_read,
            num_answers=bundle.num_answers,
            max_batch_size=self.options.max_batch_size,
        )

    def _probe_question(self) -> str:
        """A question for which surely something can be read."""
        index = self.index.in_use
        words = ["Ready"]
        if index is not None and index.corpus.num_blocks:
            words = index.corpus[0].text.split()[:_PROBE_WORDS]
        return " ".join([*words, "?"])
