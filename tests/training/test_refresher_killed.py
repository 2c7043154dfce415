import pathlib
import random
import subprocess
import sys
import time

import pytest

from realm_tf.retrieval.index.block_index import BlockIndex

PROGRAM = pathlib.Path(__file__).with_name("refresh_program.py")


@pytest.mark.large
def test_w1_refresher_killed_at_any_moment(
    exchange, refresher, snapshot, town_corpus
):
    snapshot(0)
    refresher.refresh()
    newest = 0
    for number in range(20):
        process = subprocess.Popen(
            [sys.executable, PROGRAM, exchange.path],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(
            1 + number % 3
        ):  # killed in the first refresh to the third
            assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(number).uniform(0.0, 0.5))
        process.kill()
        process.communicate()
        # The newest version is whole, and none was lost.
        index = BlockIndex.open(exchange.index, town_corpus, verify=True)
        assert index.training_step >= newest
        newest = index.training_step
    assert newest > 0
    snapshot(newest + 10)
    assert refresher.refresh() == newest + 10
    hidden = [
        path.name
        for folder in (exchange.path, exchange.index)
        for path in folder.iterdir()
        if path.name[0] == "."
    ]
    assert hidden == [".writer.lock"]
