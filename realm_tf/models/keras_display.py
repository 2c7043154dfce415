"""Keras' lines and progress bars for work outside of Keras models."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import keras

from realm_tf._progress import Progress

logger = logging.getLogger(__name__)


def print_line(text: str) -> None:
    """Prints a text, or logs it after `disable_interactive_logging`."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    else:
        logger.info(text)


def progress_bar(verbose: int | str, unit: str) -> Progress:
    """Keras' progress bar for work other than `fit`.

    Args:
        verbose: as in `keras.Model.fit`.
        unit: what is counted.

    Returns:
        `Progress`, of a single stage.
    """
    if verbose == "auto":
        verbose = 1
    bars: list[Any] = []

    def show(
        stage: str, done: int, total: int, figures: Mapping[str, float]
    ) -> None:
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
