"""Progress: how a long task reports its progress."""

from collections.abc import Callable, Mapping

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage, the units done, the units in all, and figures.

The units of a stage are what it takes: blocks, steps, parts or questions. 0 in
all: not known. Figures are the latest of a training, or other counts.
"""


def no_progress(
    stage: str, done: int, total: int, figures: Mapping[str, float]
) -> None:
    """A `Progress` that shows nothing."""
