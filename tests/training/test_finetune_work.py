import dataclasses
import errno
import logging

import keras
import numpy as np
import pytest

from realm_tf._files import writer_lock
from realm_tf.errors import FolderError, LockedError, MismatchError
from realm_tf.options import FinetuneOptions
from realm_tf.training.finetune_work import FinetuneWork
from realm_tf.training.finetuning import finetune

OPTIONS = FinetuneOptions(
    retriever_epochs=2,
    retriever_batch_size=4,
    retriever_learning_rate=1e-3,
    epochs=2,
    batch_size=4,
    learning_rate=2e-2,
    num_retrieved=6,
    num_negatives=1,
    train_query_embedder=True,
    checkpoint_minutes=0,
)


class Killed(Exception):
    pass


class Run:
    """A fine-tuning in a process of its own, so to speak."""

    def __init__(self, make_qa, corpus, questions):
        def start(work=None, kill=None, options=OPTIONS, **changes):
            keras.utils.set_random_seed(3)
            self.calls = []

            def show(*call):
                self.calls.append(call[:2])
                if call[:2] == kill:
                    raise Killed

            self.qa = make_qa(width=8, dropout=0.1)
            self.report = finetune(
                self.qa,
                changes.get("corpus", corpus),
                changes.get("questions", questions[:8] * 2),
                options,
                validation_data=questions[8:],
                work=work,
                progress=show,
            )

        self.start = start

    def results(self):
        qa = self.qa
        layers = (qa.query_embedder, qa.block_embedder, qa.reader)
        return (
            self.report.history,
            qa.index.embedder_fingerprint,  # Tantivy names files at random
            qa.lexical_weight,
            [np.array(w) for layer in layers for w in layer.weights],
        )

    def steps(self, stage):
        return [step for name, step in self.calls if name == stage]


@pytest.fixture(scope="module")
def run(make_qa, town_corpus, town_questions):
    return Run(make_qa, town_corpus, town_questions)


@pytest.fixture(scope="module")
def unbroken(run):
    run.start()
    return run.results()


@pytest.fixture(scope="module")
def finished(run, unbroken, tmp_path_factory):
    """A run that was killed three times, and what its ends had done."""
    work = tmp_path_factory.mktemp("finetuning") / "work"
    done = []
    for kill in (("retriever", 4), ("index", 10), ("reader", 7), None):
        if kill:
            with pytest.raises(Killed):
                run.start(work, kill)
        else:
            run.start(work)
        done.append([run.steps(stage) for stage in ("retriever", "reader")])
    return work, done, run.results(), run.report.seconds


def assert_same(found, expected):
    assert found[:3] == expected[:3]
    for one, other in zip(found[3], expected[3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_killed_training_ends_as_an_unbroken_one(finished, unbroken):
    assert_same(finished[2], unbroken)


def test_each_step_is_done_once(finished):
    # Eight blocks in batches of 4 and 16 questions in batches of 4, twice. The
    # step at which the run was killed was not saved.
    assert finished[1] == [
        [[1, 2, 3, 4], []],
        [[4], []],
        [[], [1, 2, 3, 4, 5, 6, 7]],
        [[], [7, 8]],
    ]


def test_seconds_of_all_runs_are_counted(finished):
    assert list(finished[3]) == [
        *("answers", "positives", "retriever", "index", "words", "reader"),
    ]
    assert min(finished[3].values()) > 0


def test_finished_training_only_loads(run, finished, unbroken):
    work = finished[0]
    run.start(work)
    assert run.calls == []
    assert_same(run.results(), unbroken)
    kept = sorted(p.name for p in (work / "checkpoints").glob("*/*"))
    assert kept == ["step-000000004", "step-000000008"]


def test_a_lost_index_is_built_again(run, finished, unbroken, tmp_path, caplog):
    work = finished[0]
    (work / "index").rename(tmp_path / "index")
    with caplog.at_level(logging.WARNING):
        run.start(work)
    assert "index is made anew" in caplog.text
    assert {name for name, _ in run.calls} == {"index"}
    assert_same(run.results(), unbroken)


def test_another_run_is_refused_with_what_differs(
    run, finished, town_questions
):
    work = finished[0]
    more = dataclasses.replace(OPTIONS, epochs=3)
    with pytest.raises(MismatchError, match=r"epochs=3 \(there: 2\)\. Begin"):
        run.start(work, options=more)
    with pytest.raises(MismatchError, match=r"Received: questions='\w{16}'"):
        run.start(work, questions=town_questions[:8])
    # Another time between checkpoints is no other run.
    other = dataclasses.replace(OPTIONS, checkpoint_minutes=5)
    run.start(work, options=other)
    qa = run.qa  # trained now
    with pytest.raises(MismatchError, match=r"block_embedder='\w+' \(there: "):
        finetune(qa, qa.index.corpus, town_questions, OPTIONS, work=work)


def test_two_processes_cannot_share_a_folder(run, finished):
    with writer_lock(finished[0]):
        with pytest.raises(LockedError, match="is being written by process"):
            run.start(finished[0])


def begin(path, description=None, seeds=()):
    return FinetuneWork.begin(path, description or {"a": 1}, seeds, 10.0)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"which holds letter\.txt\. Choose"):
        with begin(tmp_path):
            pass


def test_a_damaged_folder_is_refused(tmp_path):
    with begin(tmp_path):
        pass
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with pytest.raises(FolderError, match="must hold what its manifest says"):
        with begin(tmp_path):
            pass


def test_seeds_are_those_of_the_start(tmp_path):
    seed = keras.Variable([1, 2], dtype="uint32", trainable=False)
    with begin(tmp_path, seeds=[seed]):
        seed.assign([5, 6])
    with begin(tmp_path, seeds=[seed]):
        assert np.array(seed).tolist() == [1, 2]


def test_results_are_computed_once(tmp_path):
    with begin(tmp_path) as work:
        made = work.keep("answers", lambda: {"x": np.arange(3)})
    with begin(tmp_path) as work:
        kept = work.keep("answers", lambda: {"x": np.zeros(0)})
        assert work.seconds["answers"] >= 0
    assert made["x"].tolist() == kept["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("damage", ["bytes", "of no use"])
def test_bad_results_are_made_anew_and_said(tmp_path, caplog, damage):
    def check(kept):
        raise MismatchError("The index is another one.")

    with begin(tmp_path) as work, caplog.at_level(logging.WARNING):
        work.keep("index", lambda: {"x": np.arange(3)})
        if damage == "bytes":
            file = tmp_path / "results" / "index" / "arrays.npz"
            file.write_bytes(b"x" * file.stat().st_size)
            check = None  # not called
        kept = work.keep("index", lambda: {"x": np.ones(1)}, check)
        assert kept["x"].tolist() == [1]
        assert "index is made anew" in caplog.text
        again = work.keep("index", lambda: {})
        assert again["x"].tolist() == [1]


def full_disk(path, **arrays):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_kept(tmp_path, monkeypatch):
    with begin(tmp_path) as work:
        work.keep("answers", lambda: {"x": np.arange(3)})
        with monkeypatch.context() as patch:
            patch.setattr(np, "savez", full_disk)
            with pytest.raises(OSError, match="bytes are free"):
                work.keep("positives", lambda: {"x": np.arange(3)})
    names = [path.name for path in (tmp_path / "results").iterdir()]
    assert names == ["answers"]
    with begin(tmp_path) as work:
        assert work.keep("answers", dict)["x"].tolist() == [0, 1, 2]


def test_a_full_disk_at_the_start_leaves_a_folder_to_begin_in(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        with pytest.raises(OSError, match="bytes are free"):
            with begin(tmp_path):
                pass
    with begin(tmp_path) as work:
        assert work.path == tmp_path
