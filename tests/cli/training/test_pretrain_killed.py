"""`realm-tf pretrain` killed at any step, and started again each time."""

import random
import time

import pytest
from command_process import finish, start

from realm_tf.realm_qa import RealmQA
from realm_tf.training.pretraining import read_log

NUM_STEPS = 40
OPTIONS = (
    *("--num-steps", NUM_STEPS, "--num-warmup-steps", 4, "--batch-size", 2),
    *("--log-every", 1, "--checkpoint-every", 4, "--deterministic"),
)


def figures(folder):
    """All but the speed."""
    return [
        {name: x for name, x in line.items() if name != "steps_per_second"}
        for line in read_log(folder)
    ]


def wait_for_step(process, log, step):
    while not log.exists() or log.read_text("utf-8").count("\n") < step:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.large
@pytest.mark.parametrize(
    "stage",
    [
        ("ict", "--run-length", 1),
        ("mlm", "--masks", "random-spans", "--num-candidates", 3)
        + ("--refresh-every", 6),
    ],
)
def test_three_kills_change_nothing(stage, corpus, preset, tmp_path):
    command = (
        *("pretrain", *stage, "--preset", preset, "--corpus", corpus),
        *(*OPTIONS, "--output"),
    )
    finish(start(*command, tmp_path / "unbroken"))
    steps = sorted(random.Random(0).sample(range(1, NUM_STEPS), 3))
    folder = tmp_path / "killed.training"
    for step in steps:
        process = start(*command, tmp_path / "killed")
        wait_for_step(process, folder / "log.jsonl", step)
        process.kill()
        process.communicate()
    finish(start(*command, tmp_path / "killed"))
    unbroken = figures(tmp_path / "unbroken.training")
    assert len(unbroken) == NUM_STEPS
    assert figures(folder) == unbroken
    first, second = (
        RealmQA.from_preset(tmp_path / name).embedder_fingerprint
        for name in ("unbroken", "killed")
    )
    assert first == second
