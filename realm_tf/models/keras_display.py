"""Lines and progress bars as Keras shows them, of what is no Keras model."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras

logger = logging.getLogger(__name__)


def print_line(text: str) -> None:
    """Prints a text, or logs it after `disable_interactive_logging`."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    else:
        logger.info(text)


def progress_bar(verbose: int | str, unit: str) -> Callable[..., None]:
    """Keras' progress bar, of what is no `fit`.

    Args:
        verbose: as in `keras.Model.fit`.
        unit: what is counted.

    Returns:
        function of the numbers done and in all, and of figures to show.
    """
    if verbose == "auto":
        verbose = 1
    bars: list[Any] = []

    def show(
        done: int, total: int, figures: Mapping[str, float] | None = None
    ) -> None:
        figures = figures or {}
        if not bars:
            bar = keras.utils.Progbar(
                total,
                verbose=verbose,
                unit_name=unit,
                stateful_metrics=list(figures),
            )
            bars.append(bar)
        bars[0].update(done, list(figures.items()))

    return show
