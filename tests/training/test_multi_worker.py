import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.training.datasets.step_dataset import StepDataset
from realm_tf.training.multi_worker import (
    fit_steps,
    is_chief,
    is_multi_worker,
)
from realm_tf.training.pretraining import read_log

PROGRAM = pathlib.Path(__file__).with_name("two_hosts.py")
VOCABULARY = PROGRAM.parents[1] / "fixtures" / "vocab_small.txt"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(corpus, folder, kinds, **environment):
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, PROGRAM, corpus.path, VOCABULARY, folder, *kinds],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-3000:]


@pytest.fixture(scope="module")
def alone(town_corpus, tmp_path_factory):
    """The folder of a host that trained by itself."""
    folder = tmp_path_factory.mktemp("alone")
    finish(start(town_corpus, folder, ["ict", "mlm"]))
    return folder


@pytest.fixture(scope="module")
def together(town_corpus, tmp_path_factory):
    """The folder of two hosts, which must both end well.

    They train one model after the other, because starting takes longest.
    """
    folder = tmp_path_factory.mktemp("together")
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    hosts = [
        start(
            town_corpus,
            folder,
            ["ict", "mlm", "stop"],
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]
    try:
        for host in hosts:
            finish(host)
    finally:
        for host in hosts:
            host.kill()
            host.communicate()
    return folder


def weights(folder, task):
    with np.load(folder / f"weights-{task}.npz") as file:
        return [file[f"{i}"] for i in range(len(file.files))]


@pytest.mark.parametrize("kind", ["ict", "mlm"])
def test_two_hosts_train_like_one(kind, alone, together):
    alone, together = alone / kind, together / kind
    for task in range(2):
        for one, other in zip(
            weights(together, task), weights(alone, 0), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-4)
    for one, other in zip(read_log(together), read_log(alone), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_all_hosts_stop_where_one_does(together):
    for task in range(2):
        assert (together / f"stop/steps-{task}.txt").read_text() == "2 True"


def test_one_host_is_its_own_chief(strategy):
    for known in (strategy, tf.distribute.get_strategy()):
        assert is_chief(known)
        assert not is_multi_worker(known)


class Numbers(StepDataset):
    signature = {"x": tf.TensorSpec([3, 1], tf.float32)}

    def batch(self, step):
        return {"x": np.full((3, 1), step, np.float32)}

    def batch_ids(self, step):
        return np.array([step])


def test_batch_that_does_not_divide_is_refused(strategy):
    model = type("Model", (), {"distribute_strategy": strategy})()
    model.jit_compile = False
    with pytest.raises(ValueError, match="batch_size=3, 2 replicas"):
        fit_steps(model, Numbers(), 0, 1)
    model.jit_compile = True
    with pytest.raises(ValueError, match="Compile with `jit_compile=False`"):
        fit_steps(model, Numbers(), 0, 1)
