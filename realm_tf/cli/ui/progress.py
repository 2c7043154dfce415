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
    "start": ("Preparing", "steps"),
    "corpus": ("Building the corpus", "blocks"),
    "spans": ("Tagging", "blocks"),
    "index": ("Building the index", "blocks"),
    "tagger": ("Training the tagger", "steps"),
    "pretraining": ("Pre-training", "steps"),
    "positives": ("Searching", "blocks"),
    "retriever": ("Training the retriever", "steps"),
    "reader": ("Training the reader", "steps"),
    "questions": ("Answering", "questions"),
    "retrieval": ("Searching", "questions"),
    "export": ("Exporting", "parts"),
}
_FIGURES = ("loss", "retrieval_utility", "accuracy", "index_age", "recall_at_5")


class ProgressBar:
    """A line on the terminal.

    Args:
        progress: of rich, running.
        stage: the first, as in `show`.

    Attributes:
        done: number of units that are done.
    """

    def __init__(self, progress: Progress, stage: str):
        self._progress = progress
        self._begin(stage)

    def _begin(self, stage: str) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        description, self._unit = _STAGES[stage]
        self._task = self._progress.add_task(description, total=1.0, note="")
        self._stage = stage
        self._skipped = 0
        self._start = time.monotonic()
        self.done = 0

    def show(
        self, stage: str, done: int, total: int, figures: Mapping[str, float]
    ) -> None:
        """Shows a stage; see `realm_tf._progress.Progress`."""
        if stage != self._stage:
            self._begin(stage)
        if not self.done and self._unit == "steps":
            self._skipped = done - 1  # of a run that was stopped
        self.done = done
        seconds = max(time.monotonic() - self._start, 1e-6)
        rate = (done - self._skipped) / seconds
        digits = 0 if rate >= 10 else 1
        notes = [
            f"{done:,} {self._unit}",
            f"{rate:,.{digits}f}/s",
            *(
                f"{name.replace('_', ' ')} {figures[name]:.3f}"
                for name in _FIGURES
                if name in figures
            ),
        ]
        self._progress.update(
            self._task,
            completed=done / total if total else 0.0,
            note=", ".join(notes),
        )


@contextlib.contextmanager
def progress_bar(stage: str = "start") -> Iterator[ProgressBar]:
    """A line on stderr, while that is a terminal and not `--quiet`.

    Args:
        stage: what is shown before anything is done; see `ProgressBar.show`.
    """
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
        yield ProgressBar(progress, stage)
