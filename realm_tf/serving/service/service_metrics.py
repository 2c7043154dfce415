"""ServiceMetrics: the Prometheus metrics of the query service."""

import contextlib
import time
from collections.abc import Iterator

import prometheus_client

_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class ServiceMetrics:
    """Counters, gauges and histograms of one query service.

    Names of paths and errors come from fixed lists, never from a request.
    """

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.requests = prometheus_client.Counter(
            "realm_requests",
            "Requests answered.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = prometheus_client.Histogram(
            "realm_stage_seconds",
            "Time that each stage took, waiting in its queue included.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.errors = prometheus_client.Counter(
            "realm_errors",
            "What went wrong: backend, index, mismatch, timeout, internal.",
            ["kind"],
            registry=self.registry,
        )
        self.documents = prometheus_client.Counter(
            "realm_documents",
            "Documents added (or replaced) and deleted.",
            ["change"],
            registry=self.registry,
        )
        self.in_flight = self._gauge(
            "requests_in_flight", "Requests that are being answered."
        )
        self.queue = prometheus_client.Gauge(
            "realm_queue",
            "Questions that wait for a stage.",
            ["stage"],
            registry=self.registry,
        )
        self.index_version = self._gauge(
            "index_version", "Version of the index in use."
        )
        self.index_age = self._gauge(
            "index_age_seconds", "Age of the version of the index in use."
        )
        self.index_blocks = self._gauge(
            "index_blocks", "Blocks that can be found."
        )
        self.index_updates = self._gauge(
            "index_updates",
            "Updates of the version that were read; behind the writer's by as "
            "many as are still to be followed.",
        )
        self.writer = self._gauge(
            "writer", "1 while the service makes the changes of the index."
        )
        self.index_recall = self._gauge(
            "index_recall",
            "Share of the exact best blocks found for the last questions.",
        )
        self.backend_open = prometheus_client.Gauge(
            "realm_backend_circuit_open",
            "1 while a failing model is left alone.",
            ["model"],
            registry=self.registry,
        )
        self.ready = self._gauge("ready", "1 once a question was answered.")

    def _gauge(self, name: str, text: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(
            f"realm_{name}", text, registry=self.registry
        )

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time of a `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds.labels(stage).observe(time.perf_counter() - start)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)
