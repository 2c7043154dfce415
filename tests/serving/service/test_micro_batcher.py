import asyncio
import concurrent.futures
import threading

import pytest

from realm_tf.serving.service.micro_batcher import MicroBatcher


class Stage:
    """Notes its batches; the first one waits until it may go on."""

    def __init__(self):
        self.go = threading.Event()
        self.batches = []

    def __call__(self, key, items):
        self.batches.append((key, list(items)))
        assert self.go.wait(20)
        if "bad" in items:
            raise ValueError("bad")
        return [(key, item) for item in items]


def run(function, **options):
    """Runs `function(stage, batcher)` in an event loop."""
    stage = Stage()

    async def main():
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            batcher = MicroBatcher(
                stage, executor, **{"max_size": 3, "num_parallel": 1} | options
            )
            return await asyncio.wait_for(function(stage, batcher), 30)

    return stage, asyncio.run(main())


async def submit(stage, batcher, items):
    """Submits the first item, then the others while it runs."""
    tasks = [asyncio.create_task(batcher.submit(*items[0]))]
    while not stage.batches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(batcher.submit(*item)) for item in items[1:]]
    await asyncio.sleep(0.01)
    return tasks


def test_what_waits_goes_into_one_batch():
    async def main(stage, batcher):
        tasks = await submit(stage, batcher, [(n,) for n in range(6)])
        assert batcher.num_waiting == 5
        stage.go.set()
        return await asyncio.gather(*tasks)

    stage, results = run(main)
    assert results == [(None, n) for n in range(6)]
    assert [items for _, items in stage.batches] == [[0], [1, 2, 3], [4, 5]]


def test_batches_hold_one_key():
    async def main(stage, batcher):
        items = [(0, "a"), (1, "a"), (2, "b"), (3, "a")]
        tasks = await submit(stage, batcher, items)
        stage.go.set()
        return await asyncio.gather(*tasks)

    stage, results = run(main)
    assert results == [("a", 0), ("a", 1), ("b", 2), ("a", 3)]
    assert stage.batches[1:] == [("a", [1, 3]), ("b", [2])]


def test_an_error_reaches_those_of_the_batch_only():
    async def main(stage, batcher):
        tasks = await submit(stage, batcher, [(0,), ("bad",), (1,)])
        stage.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, results = run(main, max_size=1)
    assert results[0] == (None, 0) and results[2] == (None, 1)
    assert isinstance(results[1], ValueError)


def test_what_nobody_waits_for_any_more_is_left_out():
    async def main(stage, batcher):
        tasks = await submit(stage, batcher, [(0,), (1,), (2,)])
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        stage.go.set()
        assert await tasks[2] == (None, 2)
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]

    stage, _ = run(main)
    assert [items for _, items in stage.batches] == [[0], [2]]


def test_several_batches_run_at_once():
    async def main(stage, batcher):
        tasks = await submit(stage, batcher, [(0,), (1,)])
        assert batcher.num_waiting == 0
        stage.go.set()
        return await asyncio.gather(*tasks)

    stage, _ = run(main, num_parallel=2)
    assert len(stage.batches) == 2
