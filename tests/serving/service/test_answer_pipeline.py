import asyncio
import concurrent.futures
import dataclasses

import numpy as np
import pytest

from realm_tf.errors import MismatchError
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.backends.backend import MODELS
from realm_tf.serving.bundle import read_bundle
from realm_tf.serving.service.answer_pipeline import AnswerPipeline
from realm_tf.serving.service.circuit_breaker import CircuitBreaker
from realm_tf.serving.service.served_index import ServedIndex
from realm_tf.serving.service.service_metrics import ServiceMetrics


@pytest.fixture
def pipeline(bundle, backend, served_qa):
    index = ServedIndex(bundle / "index", bundle / "corpus")
    index.acquire(served_qa.embedder_fingerprint)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        yield AnswerPipeline(
            read_bundle(bundle),
            backend,
            index,
            executor,
            breakers={name: CircuitBreaker(2) for name in MODELS},
            metrics=ServiceMetrics(),
            max_batch_size=4,
        )


def test_nothing_waits_at_first(pipeline):
    assert pipeline.queues == {"embed": 0, "search": 0, "read": 0}


def test_recall_of_an_exact_index_is_one(pipeline):
    assert pipeline.measure_recall() == 1.0


def test_recall_compares_with_the_exact_search(pipeline, monkeypatch):
    pipeline._last.append(np.ones((1, 4), np.float32))
    search = BlockIndex.search

    def worst(index, queries, k, *, exact=False):
        sign = 1 if exact else -1
        return search(index, sign * np.asarray(queries), k, exact=exact)

    monkeypatch.setattr(BlockIndex, "search", worst)
    monkeypatch.setattr(BlockIndex, "is_exact", False)
    assert pipeline.measure_recall() < 1.0


def ask(pipeline):
    answering = pipeline.answer(
        "who?", top_k=None, num_alternatives=4, threshold=0.0
    )
    return asyncio.run(answering).answer


def test_words_are_compared_with_the_weight_of_the_export(pipeline):
    assert set(ask(pipeline).lexical_scores) == {0.0}
    block = ask(pipeline).blocks[-1]
    pipeline.bundle = dataclasses.replace(pipeline.bundle, lexical_weight=50.0)
    found = asyncio.run(pipeline.retrieve(block.title, 2)).evidence
    assert found.lexical_scores[0] > 10
    assert found.retrieval_logits[0] > 10


def test_reader_of_another_export_is_refused(pipeline, backend):
    """H7."""
    assert ask(pipeline).text
    backend.reader_name = b"another"
    with pytest.raises(MismatchError, match="must be of one export"):
        ask(pipeline)
