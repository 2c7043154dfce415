"""Versions of a model: SavedModels as TensorFlow Serving finds them."""

import contextlib
import logging
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf import _files, _manifest
from realm_tf.serving import bundle as bundles
from realm_tf.serving.export import warmup
from realm_tf.serving.export.op_check import SAVED_MODEL_NAME, check_saved_model

KIND = "saved_model"
EXTRA_NAME = "assets.extra"
_HELD_BACK = f".{SAVED_MODEL_NAME}"

Requests = Sequence[tuple[str, Mapping[str, np.ndarray]]]


@contextlib.contextmanager
def write_version(
    folder: str | os.PathLike[str],
    name: str,
    module: Any,
    requests: Requests,
    fingerprints: Mapping[str, str],
) -> Iterator[int]:
    """Adds a version to a model; a server takes it up when the context ends.

    It is written under a name that is no number, and checked, before the
    context begins; what is left for its end is the rename. The caller holds
    the writer lock of the bundle.

    Args:
        folder: the bundle.
        name: of the model.
        module: `tf.Module` with `signatures`.
        requests: signatures and inputs that a server is warmed up with.
        fingerprints: for the manifest.

    Yields:
        number of the version.

    Raises:
        ExportError: if a server could not run it.
    """
    versions = bundles.model_folder(folder, name)
    version = max(bundles.model_numbers(folder, name), default=0) + 1
    with _manifest.write_folder(versions / str(version), KIND) as writer:
        target = writer.path
        _quietly(
            lambda: tf.saved_model.save(
                module, str(target), signatures=module.signatures
            )
        )
        ops = check_saved_model(target, allow_scann=name == bundles.SCANN_QA)
        # A server may load an unfinished copy, so the graph must come last.
        (target / SAVED_MODEL_NAME).rename(target / _HELD_BACK)
        extra = target / EXTRA_NAME
        extra.mkdir()
        warmup.write_warmup(extra / warmup.FILE_NAME, name, requests)
        (target / _HELD_BACK).rename(target / SAVED_MODEL_NAME)
        writer.describe(
            counts={"num_ops": len(ops)},
            fingerprints=dict(fingerprints),
            options={"model": name, "tensorflow_version": tf.__version__},
        )
        writer.finish()
        yield version


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Removes files of killed exports; the caller holds the writer lock."""
    root = pathlib.Path(folder)
    versions = (bundles.model_folder(root, n) for n in bundles.MODEL_NAMES)
    pattern = f".*{_files.TEMPORARY_MARK}*"
    for place in (root, *versions):
        for leftover in place.glob(pattern):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _quietly(save: Callable[[], None]) -> None:
    """Saves without TensorFlow's notes on assets that were written."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        save()
    finally:
        logger.setLevel(level)
