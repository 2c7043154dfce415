import subprocess
import sys
import threading

import apache_beam as beam
import pytest
from beam_shards import RUNNER

from realm_tf.errors import PipelineError
from realm_tf.pipelines import run_pipeline
from realm_tf.pipelines.pipeline_run import pipeline_options

# Of a library user: the workers get the lambda by value.
DYING = """
import os, sys
import apache_beam as beam
from realm_tf.pipelines import run_pipeline

class Dying(beam.PTransform):
    def expand(self, begin):
        numbers = begin | beam.Create([1, 2, 3]) | beam.Reshuffle()
        return numbers | beam.Map(lambda _: os._exit(9))

if __name__ == "__main__":
    options = ["direct_running_mode=multi_processing", "direct_num_workers=2"]
    try:
        run_pipeline(Dying(), "DirectRunner", options)
    except Exception as error:
        print(error, flush=True)
"""


class Steps(beam.PTransform):
    """Calls a function for the numbers 0 and 1."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def expand(self, pbegin):
        return pbegin | beam.Create([0, 1]) | beam.Map(self.function)


def test_pipeline_runs_to_its_end(tmp_path):
    before = threading.excepthook
    run_pipeline(Steps(lambda i: (tmp_path / str(i)).touch()), RUNNER)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    assert threading.excepthook is before


def test_cause_of_a_failure_is_told_without_its_traceback():
    def fail(i):
        raise ValueError(f"A number must be even. Received: {i}.")

    with pytest.raises(PipelineError) as caught:
        run_pipeline(Steps(fail), RUNNER)
    assert str(caught.value) == (
        f"The pipeline failed on {RUNNER}. A number must be even. Received: 0. "
        "Finished parts are kept: start the same pipeline again to resume."
    )


def test_dead_worker_ends_the_pipeline():
    done = subprocess.run(
        [sys.executable, "-c", DYING],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "worker process died (Worker subprocess exited" in done.stdout


@pytest.mark.parametrize(
    "option, problem",
    [
        ("direct_num_wokers=2", "unknown: --direct_num_wokers=2"),
        ("frob", "unknown: --frob"),
        ("direct_num_workers=two", "invalid int value: 'two'"),
    ],
)
def test_options_that_beam_does_not_know_are_refused(option, problem):
    with pytest.raises(ValueError, match=problem):
        pipeline_options(RUNNER, ["no_pipeline_type_check", option])


def test_options_may_have_their_dashes():
    options = pipeline_options(RUNNER, ["--job_name=a", "experiments=b"])
    found = options.get_all_options(drop_default=True)
    assert (found["job_name"], found["experiments"]) == ("a", ["b"])


def test_unknown_runner_is_refused():
    with pytest.raises(ValueError, match="NopeRunner. Valid values are"):
        run_pipeline(Steps(print), "NopeRunner")
