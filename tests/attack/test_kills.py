"""SIGKILL at random times; what was acknowledged is there, all else is whole.

See `kills.py`, which is run in another process.
"""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.attack

PROGRAM = pathlib.Path(__file__).with_name("kills.py")
NUM_KILLS = {
    "corpus build": 30,
    "index build": 50,
    "finetune": 6,
    "export": 8,
    "service writes": 30,
}
SECONDS = 600.0


@pytest.mark.parametrize("kind", NUM_KILLS)
def test_killed_writers_leave_all_or_nothing(kind, folders, tmp_path, count):
    number = NUM_KILLS[kind]
    command = [sys.executable, PROGRAM, kind, folders, tmp_path, str(number)]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    num_killed = sum(line.get("killed", False) for line in lines)
    assert num_killed > number / 2
    count(f"kill -9 of {kind}", "whole", num_killed)
    for line in lines:
        if "acknowledged" in line:
            count("documents acknowledged", "there", line["acknowledged"])
