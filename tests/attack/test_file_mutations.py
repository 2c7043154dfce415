"""Damaged, missing and exchanged files of corpora, indexes, presets, bundles.

Each is opened with verification and used: the right answer, or an error of
the project that names a file. See `file_mutations.py`, which is run in another
process, so that a crash or a hang is seen.
"""

import collections
import json
import pathlib
import subprocess
import sys
import threading

import pytest

pytestmark = pytest.mark.attack

PROGRAM = pathlib.Path(__file__).with_name("file_mutations.py")
START_SECONDS = 120.0
MUTATION_SECONDS = 60.0
NUM_MUTATIONS = {
    "corpus": 1_200,
    "index": 1_000,
    "preset": 300,
    "bundle": 300,
}


@pytest.mark.parametrize("kind", NUM_MUTATIONS)
def test_mutations_are_harmless_or_named(kind, folders, tmp_path, count):
    number = NUM_MUTATIONS[kind]
    command = [sys.executable, PROGRAM, kind, folders, tmp_path, str(number)]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True
    ) as process:
        lines = list(timed_lines(process))
    assert process.returncode == 0, lines[-1:]
    results = [json.loads(line) for line in lines]
    done = [result for result in results if "outcome" in result]
    assert len(done) == number
    outcomes = collections.Counter(result["outcome"] for result in done)
    for outcome, times in sorted(outcomes.items()):
        count(f"files of a {kind}", outcome, times)
    bad = [r for r in done if r["outcome"] not in ("same answer", "named")]
    assert not bad, bad[:10]
    assert outcomes["named"] > number / 2


def timed_lines(process):
    """Lines of a process; it is killed if one takes too long."""
    seconds = START_SECONDS
    while True:
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            return
        yield line
        seconds = MUTATION_SECONDS
