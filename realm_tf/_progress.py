"""Progress: how a long task says how far it is."""

from collections.abc import Callable, Mapping

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage, the units done, the units in all, and figures.

The units of a stage are what it takes: blocks, steps, parts or questions. 0 in
all: not known. Figures are the latest of a training, or other counts.
"""


def no_progress(
    stage: str, done: int, total: int, figures: Mapping[str, float]
) -> None:
    """The `Progress` of those who do not ask for one."""
