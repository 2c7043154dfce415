"""`realm-tf finetune` killed in each stage with training, and resumed."""

import time

import pytest
from command_process import finish, start

from realm_tf.realm_qa import RealmQA

OPTIONS = (
    *("--retriever-epochs", 6, "--retriever-batch-size", 2),
    *("--epochs", 6, "--batch-size", 2, "--num-retrieved", 4),
    *("--dropout", 0.1, "--dtype", "float32", "--checkpoint-minutes", 0),
)


@pytest.mark.large
def test_kills_change_nothing(corpus, questions_file, tiny_bert, tmp_path):
    command = (
        *("finetune", "--bert", tiny_bert, "--embedding-dim", 4),
        *("--corpus", corpus, "--train", questions_file, *OPTIONS),
        *("--output", tmp_path / "preset"),
    )
    work = tmp_path / "work"
    for stage, step in (("retriever", 3), ("reader", 7)):
        process = start(*command, "--work", work)
        folder = work / "checkpoints" / stage / f"step-{step:09d}"
        while not folder.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert not (tmp_path / "preset").exists()
    finish(start(*command, "--work", work), timeout=600)
    finish(start(*command[:-1], tmp_path / "unbroken"), timeout=600)
    killed, unbroken = (
        RealmQA.from_preset(tmp_path / name) for name in ("preset", "unbroken")
    )
    assert killed.embedder_fingerprint == unbroken.embedder_fingerprint
    assert killed.reader_fingerprint == unbroken.reader_fingerprint
    assert killed.lexical_weight == unbroken.lexical_weight
