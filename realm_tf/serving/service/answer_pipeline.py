"""AnswerPipeline: embed, search, read, with a batch queue each."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from realm_tf.data.corpus.answer import Answer, Evidence, Span
from realm_tf.engine.engine import Readings
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.searchers.searcher_recall import searcher_recall_at_k
from realm_tf.serving.backends.backend import (
    Backend,
    Embedded,
)
from realm_tf.serving.bundle import QUERY_EMBEDDER, READER, Bundle
from realm_tf.serving.service.circuit_breaker import CircuitBreaker
from realm_tf.serving.service.micro_batcher import MicroBatcher
from realm_tf.serving.service.served_index import ServedIndex
from realm_tf.serving.service.service_metrics import ServiceMetrics

_PARALLEL_SEARCHES = 2
_RECALL_QUERIES = 16  # the last ones that were asked
_RECALL_K = 10


@dataclasses.dataclass(frozen=True)
class Found:
    """The retrieved blocks of a question, and the versions used.

    Args:
        evidence: `Evidence`.
        models: name of a model -> version.
        embedder_fingerprint: of the embedder that was used.
    """

    evidence: Evidence
    models: dict[str, int]
    embedder_fingerprint: str


@dataclasses.dataclass(frozen=True)
class Answered:
    """An answer, and the versions used.

    Args:
        answer: `Answer`.
        models: name of a model -> version.
    """

    answer: Answer
    models: dict[str, int]


class AnswerPipeline:
    """Answers questions of many tasks of one event loop, with one export.

    A question is searched and read in the index version that it was embedded
    for, whatever is swapped meanwhile, and by the reader that was exported with
    that embedder. Another export gets another pipeline.

    Args:
        bundle: the export.
        backend: `Backend` with its models.
        index: `ServedIndex`.
        executor: threads for the stages.
        breakers: name of a model -> `CircuitBreaker` around it.
        metrics: `ServiceMetrics`.
        max_batch_size: questions in one call of a model.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        index: ServedIndex,
        executor: concurrent.futures.Executor,
        *,
        breakers: Mapping[str, CircuitBreaker],
        metrics: ServiceMetrics,
        max_batch_size: int,
    ):
        self.bundle = bundle
        self.backend = backend
        self._index = index
        self._executor = executor
        self._breakers = breakers
        self._metrics = metrics
        self._last: collections.deque[npt.NDArray[np.float32]] = (
            collections.deque(maxlen=_RECALL_QUERIES)
        )
        self._batchers = {
            stage: MicroBatcher(
                function,
                executor,
                max_size=max_batch_size,
                num_parallel=num_parallel,
            )
            for stage, function, num_parallel in (
                ("embed", self._embed_batch, backend.num_parallel),
                ("search", _search_batch, _PARALLEL_SEARCHES),
                ("read", self._read_batch, backend.num_parallel),
            )
        }

    @property
    def queues(self) -> dict[str, int]:
        """Stage -> questions that wait for it."""
        return {name: b.num_waiting for name, b in self._batchers.items()}

    async def answer(
        self,
        question: str,
        *,
        top_k: int | None,
        num_alternatives: int,
        threshold: float | None,
    ) -> Answered:
        """See `QueryService.ask`."""
        found = await self.retrieve(question, top_k or self.bundle.num_read)
        evidence = found.evidence
        if not evidence.blocks:
            none = Answer.none(evidence, threshold or 0.0)
            return Answered(none, found.models)
        with self._metrics.timed("read"):
            spans, reader = await self._batchers["read"].submit(evidence)
        self.bundle.check_pair(found.embedder_fingerprint, reader.fingerprint)
        if threshold is None:
            threshold = reader.threshold
        answer = Answer.of(evidence, spans[: 1 + num_alternatives], threshold)
        return Answered(answer, found.models | {READER: reader.version})

    async def retrieve(self, question: str, top_k: int) -> Found:
        """See `QueryService.search`."""
        with self._metrics.timed("embed"):
            embedded = await self._batchers["embed"].submit(question)
        index = self._index.in_use
        if index is None or index.embedder_fingerprint != embedded.fingerprint:
            index = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._index.acquire, embedded.fingerprint
            )
        self._last.append(embedded.embeddings)
        with self._metrics.timed("search"):
            evidence = await self._batchers["search"].submit(
                (question, embedded),
                _SearchKey(index, top_k, self.bundle.lexical_weight),
            )
        return Found(
            evidence, {QUERY_EMBEDDER: embedded.version}, embedded.fingerprint
        )

    def measure_recall(self) -> float:
        """Share of the exact best blocks found for the last questions."""
        index, queries = self._index.in_use, list(self._last)
        if index is None or not queries or index.is_exact:
            return 1.0
        batch = np.concatenate(queries)
        found = index.search(batch, _RECALL_K)
        exact = index.search(batch, _RECALL_K, exact=True)
        return searcher_recall_at_k(found, exact, _RECALL_K)

    def _embed_batch(self, _: None, questions: list[str]) -> list[Embedded]:
        breaker = self._breakers[QUERY_EMBEDDER]
        batch = breaker.call(self.backend.embed_questions, questions)
        return [
            dataclasses.replace(
                batch,
                embeddings=batch.embeddings[row : row + 1],
                truncated=batch.truncated[row : row + 1],
            )
            for row in range(len(questions))
        ]

    def _read_batch(
        self, _: None, batch: list[Evidence]
    ) -> list[tuple[list[Span], Readings]]:
        spans, readings = self._breakers[READER].call(
            self.backend.read_evidence,
            batch,
            self.bundle.num_read,  # a server joins only equally wide requests
            self.bundle.num_answers,
        )
        return [(own, readings) for own in spans]


@dataclasses.dataclass(frozen=True)
class _SearchKey:
    """Searches that share a batch: of one index, for as many blocks."""

    index: BlockIndex
    top_k: int
    lexical_weight: float


def _search_batch(
    key: _SearchKey, batch: list[tuple[str, Embedded]]
) -> list[Evidence]:
    questions, embedded = zip(*batch, strict=True)
    return key.index.retrieve(
        questions,
        np.concatenate([one.embeddings for one in embedded]),
        key.top_k,
        truncated=[bool(one.truncated[0]) for one in embedded],
        lexical_weight=key.lexical_weight,
    )
