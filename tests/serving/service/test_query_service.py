import asyncio
import dataclasses
import threading
import time

import numpy as np
import pytest

from realm_tf.errors import (
    BackendError,
    FolderError,
    MismatchError,
    ServiceUnavailableError,
)
from realm_tf.evaluation.calibration import Calibration
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QUERY_EMBEDDER,
    READER,
    read_bundle,
    write_bundle,
)
from realm_tf.serving.service import model_probe
from realm_tf.serving.service.query_service import QueryService

DOCUMENT = {"id": "new", "title": "New", "text": "People were in Sofia."}


def test_answers_are_those_of_the_model(run_service, served_qa, rounded):
    questions = ["When was the school of Rome founded?", "who?", "Oslo"]

    async def ask(service):
        return await service.ask(questions, top_k=4, num_alternatives=2)

    answered = run_service(ask)
    expected = served_qa.predict(questions, num_retrieved=4, num_alternatives=2)
    assert [each.answer for each in answered] == rounded(expected)
    assert answered[0].answer.index_version == 1
    assert answered[0].models == {"realm_query_embedder": 1, "realm_reader": 1}


def test_threshold_is_that_of_the_calibration(
    run_service, served_qa, monkeypatch
):
    calibration = Calibration(temperature=2.0, threshold=0.9)
    monkeypatch.setattr(served_qa, "calibration", calibration)

    async def ask(service):
        asked = [await service.ask(["who?"], threshold=t) for t in (None, 0.0)]
        return [answered.answer for [answered] in asked]

    calibrated, asked_for = run_service(ask)
    expected = served_qa.ask("who?")
    assert calibrated.threshold == pytest.approx(0.9)
    assert not calibrated.found and not expected.found
    assert calibrated.probability == pytest.approx(expected.probability)
    assert (asked_for.threshold, asked_for.found) == (0.0, True)


def test_fewer_blocks_than_are_read_can_be_retrieved(
    run_service, served_qa, rounded
):
    async def ask(service):
        return await service.ask(["who?"], top_k=1, threshold=0.9)

    (answered,) = run_service(ask)
    expected = served_qa.predict(["who?"], num_read=1, threshold=0.9)
    assert [answered.answer] == rounded(expected)
    assert not answered.answer.found


def test_reads_are_equally_wide(run_service, backend, served_qa, rounded):
    """A model server with batching refuses to join others."""
    predict, shapes = backend.predict, set()

    def watched(model, signature, inputs):
        if model == READER:
            scores = inputs["retrieval_scores"]
            assert np.isfinite(scores).all()  # JSON has nothing else
            shapes.add(scores.shape[1])
        return predict(model, signature, inputs)

    async def ask(service):
        backend.predict = watched
        few, many = await asyncio.gather(
            service.ask(["who?"], top_k=1), service.ask(["who?"], top_k=7)
        )
        return [*few, *many]

    answered = run_service(ask)
    assert shapes == {served_qa.num_read}
    expected = [
        *served_qa.predict(["who?"], num_read=1),
        *served_qa.predict(["who?"], num_retrieved=7),
    ]
    assert [each.answer for each in answered] == rounded(expected)


def test_search_gives_blocks_without_reading(run_service, backend, served_qa):
    async def search(service):
        backend.calls.clear()
        return await service.search(["who?", "Rome"], top_k=2)

    found = run_service(search)
    assert READER not in {model for model, _ in backend.calls}
    expected = served_qa.search(["who?", "Rome"], 2)
    for each, scores, ids in zip(
        found, expected.scores, expected.block_ids, strict=True
    ):
        np.testing.assert_allclose(
            each.evidence.retrieval_logits, scores, atol=1e-5
        )
        assert [b.block_id for b in each.evidence.blocks] == ids.tolist()


def test_questions_that_wait_share_a_call(run_service, backend):
    async def ask(service):
        backend.fault = lambda model: time.sleep(0.05)
        backend.calls.clear()
        await service.ask([f"who {n}?" for n in range(20)])
        return backend.calls

    calls = run_service(ask, max_batch_size=8)
    assert max(size for _, size in calls) == 8
    assert sum(size for model, size in calls if model == READER) == 20


def test_added_document_is_found_at_once(run_service):
    async def add(service):
        before = service.index.in_use.num_blocks
        index, num_blocks = await service.add_documents([DOCUMENT])
        assert index.num_blocks == before + num_blocks
        (found,) = await service.search(["Sofia"], top_k=20)
        assert "new" in {b.document_id for b in found.evidence.blocks}
        index = await service.delete_documents(["new"])
        assert index.num_blocks == before
        (found,) = await service.search(["Sofia"], top_k=20)
        assert "new" not in {b.document_id for b in found.evidence.blocks}
        return service.exposition().decode()

    metrics = run_service(add)
    assert 'realm_documents_total{change="added"} 1.0' in metrics
    assert 'realm_documents_total{change="deleted"} 1.0' in metrics


def test_new_version_is_taken_up_by_itself(run_service):
    async def wait(service):
        BlockIndex.roll_back(service.index.index_path, 1)
        while service.index.in_use.version == 1:
            await asyncio.sleep(0.01)
        (answered,) = await service.ask(["who?"])
        return answered.answer.index_version

    assert run_service(wait) == 2


def test_bad_version_is_counted_and_the_old_one_answers(run_service):
    """W10."""

    async def spoil(service):
        BlockIndex.roll_back(service.index.index_path, 1)
        path = index_versions.version_folder(service.index.index_path, 2)
        (path / "excluded_block_ids.npy").unlink()
        with pytest.raises(FolderError):
            await service.switch_index()
        (answered,) = await service.ask(["who?"])
        assert answered.answer.index_version == 1
        return service.exposition().decode()

    metrics = run_service(spoil, watch_interval=60)
    assert 'realm_errors_total{kind="index"} 1.0' in metrics


def test_version_of_another_embedder_is_not_switched_to(
    run_service, city_corpus, served_qa
):
    async def switch(service):
        BlockIndex.build(
            service.index.index_path,
            city_corpus,
            served_qa.block_embedding.corpus(city_corpus),
            embedder_fingerprint="5" * 64,
        )
        with pytest.raises(MismatchError):
            await service.switch_index()
        await service.ask(["who?"])

    run_service(switch, watch_interval=60)


def test_failing_models_are_left_alone_and_come_back(
    run_service, backend, broken
):
    """H6."""

    async def fail(service):
        backend.fault = broken
        for _ in range(3):
            with pytest.raises(ServiceUnavailableError, match="is away"):
                await service.ask(["who?"])
        assert not service.is_ready
        with pytest.raises(ServiceUnavailableError, match="left alone") as e:
            await service.ask(["who?"])
        assert e.value.retry_after > 0
        backend.fault = lambda model: None
        while not service.is_ready:
            await asyncio.sleep(0.05)
        assert (await service.ask(["who?"]))[0].answer.text
        return service.exposition().decode()

    metrics = run_service(fail, failures_to_open=3)
    assert 'circuit_open{model="realm_query_embedder"} 0.0' in metrics
    assert 'realm_errors_total{kind="backend"}' in metrics


@pytest.mark.parametrize("model", [QUERY_EMBEDDER, READER])
def test_models_that_die_are_missed_though_nobody_asks(
    run_service, backend, model, monkeypatch
):
    monkeypatch.setattr(model_probe, "_SECONDS_UNPROVEN", 0.1)

    def fault(called):
        if called == model:
            raise BackendError(f"{model} is away.")

    async def die(service):
        backend.fault = fault
        while service.is_ready:
            await asyncio.sleep(0.01)
        assert service.problem in ("", f"{model} is away.")
        backend.fault = lambda model: None
        while not service.is_ready:
            await asyncio.sleep(0.01)
        assert (await service.ask(["who?"]))[0].answer.text

    run_service(die)


def test_models_that_hang_are_missed_and_asked_once(
    run_service, backend, monkeypatch
):
    monkeypatch.setattr(model_probe, "_SECONDS_UNPROVEN", 0.1)
    monkeypatch.setattr(model_probe, "_PROBE_SECONDS", 0.1)
    go, hanging = threading.Event(), []

    def hang(model):
        hanging.append(model)
        assert go.wait(300)

    async def wait(service):
        backend.fault = hang
        while service.is_ready:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)  # several looks
        assert hanging == [QUERY_EMBEDDER]
        go.set()
        while not service.is_ready:
            await asyncio.sleep(0.01)

    run_service(wait)


def test_probes_close_the_circuit_without_its_pause(
    run_service, backend, broken, monkeypatch
):
    monkeypatch.setattr(model_probe, "_SECONDS_UNPROVEN", 0.1)

    async def fail(service):
        backend.fault = broken
        for _ in range(6):
            for breaker in service._breakers.values():
                breaker._pause = breaker._closed_until = 1e9
            with pytest.raises(ServiceUnavailableError):
                await service.ask(["who?"])
        backend.fault = lambda model: None
        while not service.is_ready:
            await asyncio.sleep(0.01)
        assert await service.ask(["who?"])

    run_service(fail, failures_to_open=1)


@pytest.mark.parametrize("model", [READER, BLOCK_EMBEDDER])
def test_each_model_fails_by_itself(run_service, backend, model):
    """H6: that questions are embedded does not make a dead reader well."""

    def fault(called):
        if called == model:
            raise BackendError(f"{model} is away.")

    async def fail(service):
        backend.fault = fault
        request = service.ask if model == READER else service.add_documents
        given = ["who?"] if model == READER else [DOCUMENT]
        for _ in range(2):
            with pytest.raises(ServiceUnavailableError, match="is away"):
                await request(given)
        with pytest.raises(ServiceUnavailableError, match="left alone"):
            await request(given)
        assert await service.search(["who?"], top_k=1)
        assert service.is_ready == (model != READER)
        if model != READER:
            assert await service.ask(["who?"])
        return service.exposition().decode()

    metrics = run_service(fail, failures_to_open=2, watch_interval=60)
    assert f'circuit_open{{model="{model}"}} 1.0' in metrics


def test_slow_models_end_in_time(run_service, backend):
    """H6."""
    go = threading.Event()

    async def wait(service):
        backend.fault = lambda model: go.wait(30)
        object.__setattr__(service.options, "request_timeout", 0.5)
        with pytest.raises(ServiceUnavailableError, match="within 0.5 s"):
            await service.ask(["who?"])
        go.set()
        return service.exposition().decode()

    metrics = run_service(wait, watch_interval=60)
    assert 'realm_errors_total{kind="timeout"} 1.0' in metrics


def test_index_of_other_models_is_never_ready(run_service, bundle):
    """H12."""
    description = read_bundle(bundle)
    object.__setattr__(description, "embedder_fingerprint", "6" * 64)
    write_bundle(description)

    async def wait(service):
        while "embedder" not in service.problem:
            await asyncio.sleep(0.01)
        assert not service.is_ready
        with pytest.raises(ServiceUnavailableError, match="embedder"):
            await service.ask(["who?"])

    run_service(wait, ready=False)


def test_models_of_another_index_are_refused(run_service, backend, make_qa):
    async def ask(service):
        backend.qa = make_qa(seed=7)
        with pytest.raises(ServiceUnavailableError, match="differs"):
            await service.ask(["who?"])
        assert not service.is_ready
        with pytest.raises(ServiceUnavailableError, match="differs"):
            await service.add_documents([DOCUMENT])
        return service.exposition().decode()

    metrics = run_service(ask, watch_interval=60)
    assert 'realm_errors_total{kind="mismatch"} 2.0' in metrics


def test_service_is_ready_again_once_models_and_index_agree(
    run_service, backend, make_qa
):
    async def ask(service):
        fitting, backend.qa = backend.qa, make_qa(seed=7)
        with pytest.raises(ServiceUnavailableError, match="differs"):
            await service.search(["who?"], top_k=1)
        while "differs" not in service.problem:  # the watcher has asked too
            await asyncio.sleep(0.01)
        assert not service.is_ready
        backend.qa = fitting
        while not service.is_ready:
            await asyncio.sleep(0.01)

    run_service(ask)


def test_models_may_come_later(bundle, backend, run_service):
    problems = iter([OSError("no models yet"), None])

    async def wait(service):
        opened = service._open_backend

        def open_backend():
            problem = next(problems)
            if problem:
                raise problem
            return opened()

        service._open_backend = open_backend
        while not service.is_ready:
            await asyncio.sleep(0.01)

    run_service(wait, ready=False)
    assert next(problems, "all used") == "all used"


def test_bundle_without_an_index_is_never_ready(bundle, run_service):
    """H12."""
    description = read_bundle(bundle)
    write_bundle(dataclasses.replace(description, index=None))

    async def wait(service):
        while "a corpus and an index" not in service.problem:
            await asyncio.sleep(0.01)
        with pytest.raises(ServiceUnavailableError, match="without"):
            await service.ask(["who?"])
        service.exposition()

    run_service(wait, ready=False)


def test_folder_that_is_no_bundle_is_refused(tmp_path, backend):
    with pytest.raises(FolderError, match="bundle.json"):
        QueryService(tmp_path, lambda: backend)


def test_another_tokenizer_needs_a_restart(run_service, bundle):
    async def add(service):
        description = read_bundle(bundle)
        write_bundle(
            dataclasses.replace(description, tokenizer_fingerprint="other")
        )
        with pytest.raises(ServiceUnavailableError, match="another tokenizer"):
            await service.add_documents([DOCUMENT])
        while "Restart the service" not in service.problem:
            await asyncio.sleep(0.01)
        assert await service.ask(["who?"]) and service.is_ready

    run_service(add)


def many_blocks(num_blocks):
    """A document for several calls of the embedder."""
    return DOCUMENT | {"text": "People were in Sofia in 1888. " * num_blocks}


def test_document_that_takes_too_long_is_given_up(run_service, backend):
    """It neither goes on in its thread, nor appears after a 503."""
    reached, go = threading.Event(), threading.Event()

    def wait(model):
        reached.set()
        assert go.wait(60)

    async def add(service):
        before = service.index.in_use.num_blocks
        backend.calls.clear()
        backend.fault = wait
        adding = asyncio.create_task(service.add_documents([many_blocks(1000)]))
        while not reached.is_set():
            await asyncio.sleep(0.01)
        adding.cancel()  # as a time-out does
        await asyncio.sleep(0.05)
        assert not adding.done() and service._writing.locked()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert backend.calls == [(BLOCK_EMBEDDER, 64)]
        assert service.index.in_use.num_blocks == before
        backend.fault = lambda model: None
        await service.add_documents([DOCUMENT])

    run_service(add, watch_interval=60)


def test_document_of_line_breaks_is_given_up_while_it_is_cut(run_service):
    async def add(service):
        lines = DOCUMENT | {"text": "\n" * 6_000_000}  # 4 s or more
        adding = asyncio.create_task(service.add_documents([lines]))
        await asyncio.sleep(0.2)
        start = time.monotonic()
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert time.monotonic() - start < 2
        await service.add_documents([DOCUMENT])

    run_service(add, watch_interval=60)


def test_stop_ends_a_document(run_service, backend):
    async def add(service):
        backend.calls.clear()
        backend.fault = lambda model: service._stopping.set()
        with pytest.raises(ServiceUnavailableError, match="service stops"):
            await service.add_documents([many_blocks(1000)])
        assert backend.calls == [(BLOCK_EMBEDDER, 64)]

    run_service(add, watch_interval=60)


def test_empty_index_gives_no_answer(run_service, city_corpus):
    async def ask(service):
        names = {block.document_id for block in city_corpus}
        await service.delete_documents(names)
        (answered,) = await service.ask(["who?"])
        return answered

    answered = run_service(ask)
    assert not answered.answer.found and not answered.answer.blocks


def test_documents_are_folded_in_while_questions_are_answered(run_service):
    async def ask_on(service, stop):
        while not stop.is_set():
            assert await service.ask(["who?"])

    async def fold(service):
        stop = asyncio.Event()
        asking = asyncio.create_task(ask_on(service, stop))
        await service.add_documents([DOCUMENT])
        folding = asyncio.create_task(service.compact_index())
        await asyncio.sleep(0)
        index, _ = await service.add_documents([DOCUMENT | {"id": "later"}])
        assert folding.done()  # the document waited for it
        stop.set()
        await asking
        names = {b.document_id for b in index.blocks(index.live_block_ids())}
        assert {"new", "later"} <= names
        return index.version, index.corpus.path.name

    assert run_service(fold) == (2, "corpus-2")


def test_answers_are_of_one_version_while_all_changes(run_service):
    """W8, H7."""

    async def ask_on(service, stop, seen):
        while not stop.is_set():
            for each in await service.ask(["who?", "Rome"]):
                seen.add(each.answer.index_version)
                assert each.answer.block in each.answer.blocks

    async def change(service):
        stop, seen = asyncio.Event(), set()
        askers = [
            asyncio.create_task(ask_on(service, stop, seen)) for _ in range(4)
        ]
        for n in range(10):
            await service.add_documents([DOCUMENT | {"id": str(n)}])
            await service.switch_index(service.index.in_use.version)
        await service.delete_documents(map(str, range(10)))
        stop.set()
        await asyncio.gather(*askers)
        return seen

    seen = run_service(change)
    assert len(seen) > 1 and max(seen) <= 11
