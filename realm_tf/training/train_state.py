"""Checkpoints of a training run, which resumes from them bit for bit."""

import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from realm_tf._files import TEMPORARY_MARK
from realm_tf._manifest import read_manifest, write_folder
from realm_tf.checkpoints.files.npz_file import read_npz
from realm_tf.errors import FolderError, MismatchError

logger = logging.getLogger(__name__)

KIND = "checkpoint"
_KEEP = 3
_VARIABLES_NAME = "variables.npz"
_EXTRA_NAME = "extra.npz"
_NAME = re.compile(r"step-(\d{9,})")
_NUMBER = re.compile(r"_\d+")


class TrainState:
    """Weights, optimizer, random state and more, one folder a checkpoint.

    Data that is a function of the step (`StepDataset`) needs no state beside
    the number of the step.

    Args:
        path: folder of the checkpoints; created with the first. The three
            newest are kept.
        description: JSON values of the run; a resumed run must have the same.
        changeable: names of those that may differ, which is a warning.

    Attributes:
        extra: arrays that were saved beside the model that was restored.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        description: Mapping[str, Any] | None = None,
        changeable: Collection[str] = (),
    ):
        self.path = pathlib.Path(path)
        self._changeable = changeable
        # JSON turns tuples into lists, so compare what is read.
        self._description = json.loads(json.dumps(dict(description or {})))
        self.extra: dict[str, np.ndarray] = {}

    def save(
        self,
        model: keras.Model,
        step: int,
        extra: Mapping[str, npt.ArrayLike] | None = None,
        keep: int = _KEEP,
    ) -> None:
        """Writes a checkpoint, whole or not at all.

        Args:
            model: compiled and built.
            step: number of steps that are done.
            extra: arrays to save beside the model.
            keep: how many of the newest checkpoints stay.

        Raises:
            ValueError: if a weight is not finite; the older checkpoints stay.
            OSError: if the disk is full.
        """
        values: dict[str, Any] = {
            name: _value(v) for name, v in _variables(model).items()
        }
        bad = [
            name
            for name, value in values.items()
            if value.dtype.kind == "f" and not np.isfinite(value).all()
        ]
        if bad:
            raise ValueError(
                f"Weights are NaN or infinite at step {step} in "
                f"{', '.join(bad[:3])}. Start the same training with a lower "
                "learning rate to resume from the last checkpoint in "
                f"{self.path}."
            )
        for leftover in self.path.glob(f".step-*{TEMPORARY_MARK}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = self.path / f"step-{step:09d}"
        # One that is there was damaged: training went back to one before it.
        shutil.rmtree(folder, ignore_errors=True)
        with write_folder(folder, KIND) as writer:
            np.savez(writer.path / _VARIABLES_NAME, **values)
            if extra:
                arrays: dict[str, Any] = dict(extra)
                np.savez(writer.path / _EXTRA_NAME, **arrays)
            writer.describe(counts={"step": step}, options=self._description)
        for old in self.steps()[:-keep]:
            shutil.rmtree(self.path / f"step-{old:09d}", ignore_errors=True)

    def restore(self, model: keras.Model) -> int:
        """Reads the newest checkpoint that is whole.

        Args:
            model: compiled and built, as it was when it was saved.

        Returns:
            Number of steps that are done; 0 if there is no checkpoint.

        Raises:
            MismatchError: if the checkpoint is of another run or model, naming
                what differs; nothing is changed.
            FolderError: if there are checkpoints, but none that is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            folder = self.path / f"step-{step:09d}"
            try:
                manifest = read_manifest(folder, KIND)
                values = read_npz(folder / _VARIABLES_NAME)
                extra = {}
                if _EXTRA_NAME in manifest.files:
                    extra = read_npz(folder / _EXTRA_NAME)
            except (FolderError, OSError, ValueError) as error:
                logger.warning(
                    "The checkpoint of step %d is damaged; going back to the "
                    "one before. %s",
                    step,
                    error,
                )
                continue
            check_same_run(
                folder,
                self._description,
                manifest.options,
                remove=self.path.parent,
                changeable=self._changeable,
            )
            _assign(_variables(model), values, folder)
            self.extra = extra
            return manifest.counts["step"]
        if steps:
            raise FolderError(
                f"{self.path} must hold a whole checkpoint. Received: "
                f"{len(steps)}, all damaged. Remove the folder to restart."
            )
        return 0

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, ascending."""
        if not self.path.is_dir():
            return []
        matches = (_NAME.fullmatch(name) for name in os.listdir(self.path))
        return sorted(int(match[1]) for match in matches if match)


def check_same_run(
    folder: pathlib.Path,
    wanted: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    remove: pathlib.Path,
    changeable: Collection[str] = (),
) -> None:
    """Checks that a folder is of the run that is resumed.

    Args:
        folder: what is resumed from.
        wanted: JSON values of this run.
        found: those of the run that wrote the folder.
        remove: folder to remove for a new run.
        changeable: names of those that may differ, which is a warning.

    Raises:
        MismatchError: naming what differs.
    """
    differences = {
        name: f"{name}={wanted.get(name)!r} (there: {found.get(name)!r})"
        for name in sorted(set(wanted) | set(found))
        if wanted.get(name) != found.get(name)
    }
    if not differences:
        return
    said = ", ".join(differences.values())
    if not set(differences).issubset(changeable):
        raise MismatchError(
            f"{folder} must be of the run that is resumed. Received: "
            f"{said}. Begin with the same command, choose another "
            f"output, or remove {remove} to begin anew."
        )
    logger.warning("Training resumes from %s with %s.", folder, said)


def build_variables(model: keras.Model) -> None:
    """Makes all variables, so that a checkpoint can be read into them.

    Keras would draw a batch for it, and begin the data again.
    """
    with model.distribute_strategy.scope():
        if not model.built:
            model.build(None)
        model.optimizer.build(model.trainable_variables)


def _variables(model: keras.Model) -> dict[str, Any]:
    """All that a step depends on, random seeds included.

    Metrics are skipped: they are reset after every checkpoint, and reading
    them is an exchange between hosts, which one host alone must not begin.
    """
    metrics = {id(variable) for variable in model.metrics_variables}
    groups = {
        "model": [v for v in model.variables if id(v) not in metrics],
        "optimizer": model.optimizer.variables,
    }
    # Keras numbers layers as they are made, which differs between processes.
    return {
        f"{group}/{i}/{_NUMBER.sub('', variable.path)}": variable
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _assign(
    variables: dict[str, Any],
    values: dict[str, np.ndarray],
    folder: pathlib.Path,
) -> None:
    missing = sorted(set(variables) - set(values))
    unexpected = sorted(set(values) - set(variables))
    reshaped = [
        name
        for name in set(variables) & set(values)
        if tuple(variables[name].shape) != values[name].shape
    ]
    if missing or unexpected or reshaped:
        raise MismatchError(
            f"{folder} must be of the model that is trained. Received: "
            f"missing={missing[:5]} ({len(missing)}), unexpected="
            f"{unexpected[:5]} ({len(unexpected)}), of another shape="
            f"{sorted(reshaped)[:5]}. Begin with the same command, or choose "
            "another output."
        )
    for name, variable in variables.items():
        variable.assign(values[name])
