"""Runs a transform as a pipeline of its own."""

import contextlib
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from realm_tf.errors import PipelineError

_STEP = re.compile(r" \[while running .*", re.DOTALL)
_TYPE = re.compile(r"^([\w.]*(Error|Exception): )+")
_WORKER_THREAD = "run_worker"  # of DirectRunner, which waits for a worker


def run_pipeline(
    transform: beam.PTransform,
    runner: str = "DirectRunner",
    options: Sequence[str] = (),
) -> None:
    """Runs a transform as a pipeline of its own, to its end.

    Args:
        transform: `BuildCorpus`, `BuildIndex`, or one of yours that begins a
            pipeline. `BuildCorpus.run` and `BuildIndex.run` also keep other
            writers out from the start.
        runner: name of a Beam runner, such as "DirectRunner" (this machine),
            "FlinkRunner", "SparkRunner", "DataflowRunner".
        options: Beam's pipeline options, such as "direct_num_workers=2".

    Raises:
        ValueError: if Beam does not know the runner or an option.
        PipelineError: if a step failed, or a worker died.
    """
    pipeline = beam.Pipeline(options=pipeline_options(runner, options))
    _ = pipeline | type(transform).__name__ >> transform
    failure = _run(pipeline)
    if failure is not None:
        raise PipelineError(
            f"The pipeline failed on {runner}. {_cause(failure)} Finished "
            "parts are kept: start the same pipeline again to resume."
        ) from failure


def pipeline_options(runner: str, options: Sequence[str]) -> PipelineOptions:
    """Beam's options, checked: Beam itself drops those it does not know.

    Raises:
        ValueError: if Beam does not know one, or its value.

    Example:
    >>> options = pipeline_options("DirectRunner", ["direct_num_workers=2"])
    >>> options.get_all_options(drop_default=True)
    {'runner': 'DirectRunner', 'direct_num_workers': 2}
    """
    flags = [f"--{option.lstrip('-')}" for option in options]

    def refuse(problem: str) -> NoReturn:
        raise ValueError(
            "`options` must be pipeline options of Beam. Received: "
            f"{' '.join(flags)} ({problem}). Write NAME=VALUE, or NAME for a "
            "switch; the guides of Beam list the names."
        )

    def check(parser: Any) -> None:
        parser.error = refuse  # it would end the process
        _, unknown = parser.parse_known_args(flags)
        if unknown:
            refuse(f"unknown: {' '.join(unknown)}")

    flags.insert(0, f"--runner={runner}")
    checked = PipelineOptions(flags)
    checked.get_all_options(add_extra_args_fn=check)
    return checked


def _run(pipeline: beam.Pipeline) -> BaseException | None:
    """Waits for the end; returns what failed."""
    outcome: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            state = pipeline.run().wait_until_finish()
            is_done = state in (None, PipelineState.DONE)
            outcome.put(
                None if is_done else RuntimeError(f"It ended as {state}.")
            )
        except BaseException as error:
            outcome.put(error)

    # DirectRunner waits for ever for a worker process that has died.
    with _deaths_of_workers(outcome):
        threading.Thread(target=run, daemon=True).start()
        return outcome.get()


@contextlib.contextmanager
def _deaths_of_workers(
    outcome: "queue.SimpleQueue[BaseException | None]",
) -> Iterator[None]:
    before = threading.excepthook

    def notice(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != _WORKER_THREAD:
            before(args)
            return
        outcome.put(
            RuntimeError(
                f"A worker process died ({args.exc_value}), perhaps for want "
                "of memory. Take fewer workers."
            )
        )

    threading.excepthook = notice
    try:
        yield
    finally:
        threading.excepthook = before


def _cause(error: BaseException) -> str:
    """What a step said; runners put a traceback before and a step behind it."""
    text = _STEP.sub("", str(error)).strip()
    last = text.splitlines()[-1] if text else type(error).__name__
    return _TYPE.sub("", last)
