"""Progress of long steps, with rate and remaining time."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import click
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from realm_tf.cli.ui import console
from realm_tf.cli.ui.options import Settings

_STAGES = {
    "positives": ("Searching", "blocks"),
    "retriever": ("Training the retriever", "steps"),
    "index": ("Embedding the corpus", "blocks"),
    "reader": ("Training the reader", "steps"),
}


class ProgressBar:
    """A line on the terminal; its methods are what the library calls.

    Args:
        progress: of rich, running.

    Attributes:
        done: number of units that are done.
    """

    def __init__(self, progress: Progress):
        self._progress = progress
        self._stage = ""

    def begin(self, description: str, unit: str) -> None:
        """Starts again with another step.

        Args:
            description: what is being done.
            unit: what is counted, in the plural.
        """
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._task = self._progress.add_task(description, total=1.0, note="")
        self._unit = unit
        self.done = self._skipped = 0
        self._start = time.monotonic()

    def skip(self, done: int) -> None:
        """Leaves units that an earlier run did out of the rate."""
        self._skipped = done

    def update(self, done: int, fraction: float, note: str = "") -> None:
        """Shows that `done` units are done, which is `fraction` of all."""
        self.done = done
        seconds = max(time.monotonic() - self._start, 1e-6)
        rate = (done - self._skipped) / seconds
        digits = 0 if rate >= 10 else 1
        note = f"{done:,} {self._unit}, {rate:,.{digits}f}/s{note}"
        self._progress.update(self._task, completed=fraction, note=note)

    def count(self, done: int, total: int) -> None:
        """Shows that `done` of `total` units are done."""
        self.update(done, done / max(1, total))

    def show_stage(
        self, stage: str, done: int, total: int, figures: Mapping[str, float]
    ) -> None:
        """Shows a stage of fine-tuning; see `stage_fitting.Progress`."""
        if stage != self._stage:
            self.begin(*_STAGES[stage])
            self._stage = stage
        note = f", loss {figures['loss']:.3f}" if "loss" in figures else ""
        self.update(done, done / max(1, total), note)


@contextlib.contextmanager
def progress_bar(
    description: str = "Preparing", unit: str = "steps"
) -> Iterator[ProgressBar]:
    """A line on stderr, while that is a terminal and not `--quiet`."""
    terminal = console.stderr()
    settings = click.get_current_context().ensure_object(Settings)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    hidden = settings.quiet or not terminal.is_terminal
    with Progress(
        *columns, console=terminal, transient=True, disable=hidden
    ) as progress:
        bar = ProgressBar(progress)
        bar.begin(description, unit)
        yield bar
