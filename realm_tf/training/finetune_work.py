"""FinetuneWork: the folder from which a fine-tuning resumes."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from realm_tf._files import writer_lock
from realm_tf._manifest import json_sha256, read_manifest, write_folder
from realm_tf.checkpoints.files.npz_file import read_npz
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.engine.fingerprints import (
    embedder_fingerprint,
    reader_fingerprint,
)
from realm_tf.errors import FolderError, MismatchError
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.options import FinetuneOptions
from realm_tf.training.stage_checkpoints import StageCheckpoints
from realm_tf.training.stage_fitting import STAGES, StageFitting
from realm_tf.training.train_state import TrainState, check_same_run

logger = logging.getLogger(__name__)

KIND = "finetuning"
_RUN = "run"
_ARRAYS_NAME = "arrays.npz"
_DIGITS = 16  # of a fingerprint, enough to tell two apart

Arrays = Mapping[str, np.ndarray]


class FinetuneWork:
    """What a fine-tuning has done, one folder for each stage.

    work/
      run/           what the run is of
      results/       of the stages without training
      checkpoints/   of those with training; of a finished one, the last
      index/         unless it is elsewhere

    Args:
        path: the folder.
        minutes: between checkpoints.

    Attributes:
        seconds: that earlier runs spent on each stage.
    """

    def __init__(self, path: pathlib.Path, minutes: float):
        self.path = path
        self.minutes = minutes
        self.seconds: dict[str, float] = {}

    @classmethod
    @contextlib.contextmanager
    def begin(
        cls,
        path: str | os.PathLike[str],
        description: Mapping[str, Any],
        seeds: Sequence[keras.Variable],
        minutes: float,
    ) -> Iterator["FinetuneWork"]:
        """Begins a run, or resumes the one that the folder is of.

        Args:
            path: the folder; created if it does not exist.
            description: JSON values that decide what the training results in.
            seeds: of the random numbers, which get the values that they had at
                the start of the run.
            minutes: between checkpoints.

        Raises:
            MismatchError: if the folder is of another run, naming what differs.
            FolderError: if the folder is of something else, or damaged.
            LockedError: if another process uses it.
        """
        path = pathlib.Path(path)
        run = path / _RUN
        # JSON turns tuples into lists, so compare what is read.
        wanted = json.loads(json.dumps(dict(description)))
        with writer_lock(path):
            if not run.exists():
                _check_empty(path)
                _write(
                    run, {f"{i:04d}": v for i, v in enumerate(seeds)}, wanted
                )
            found = read_manifest(run, KIND).options
            check_same_run(path, wanted, found, remove=path)
            values = read_npz(run / _ARRAYS_NAME).values()
            for seed, value in zip(seeds, values, strict=True):
                seed.assign(value)
            yield cls(path, minutes)

    def keep(
        self,
        stage: str,
        compute: Callable[[], Arrays],
        check: Callable[[Arrays], None] = lambda kept: None,
    ) -> Arrays:
        """What `compute` returns, or returned in an earlier run.

        Args:
            stage: name of what is computed.
            compute: returns arrays.
            check: raises `FolderError` or `MismatchError` where the arrays of
                an earlier run are no longer of use.
        """
        folder = self.path / "results" / stage
        if folder.exists():
            try:
                manifest = read_manifest(folder, KIND)
                kept = read_npz(folder / _ARRAYS_NAME)
                check(kept)
            except (FolderError, MismatchError, OSError, ValueError) as error:
                logger.warning("%s is made anew. %s", folder, error)
                shutil.rmtree(folder)
            else:
                self.seconds[stage] = manifest.options["seconds"]
                return kept
        start = time.monotonic()
        arrays = compute()
        _write(folder, arrays, {"seconds": time.monotonic() - start})
        return arrays

    def checkpoints(self, stage: str) -> StageCheckpoints:
        """The checkpoints of a stage with training."""
        state = TrainState(self.path / "checkpoints" / stage)
        return StageCheckpoints(state, self.minutes)


class NoWork:
    """Of a fine-tuning that is lost when it is stopped."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def keep(
        self,
        stage: str,
        compute: Callable[[], Arrays],
        check: Callable[[Arrays], None] | None = None,
    ) -> Arrays:
        """What `compute` returns."""
        return compute()

    def checkpoints(self, stage: str) -> None:
        """None."""


def describe_run(
    qa: QuestionAnswerer,
    corpus: Corpus,
    sets: Sequence[Sequence[Question]],
    options: FinetuneOptions,
    fitting: StageFitting,
) -> dict[str, Any]:
    """All that decides what a fine-tuning results in, as JSON values.

    Args:
        qa: before the training.
        corpus: `Corpus`.
        sets: questions to train on and, if there are any, to validate with.
        options: `FinetuneOptions`.
        fitting: `StageFitting`.
    """
    described = dataclasses.asdict(options)
    del described["checkpoint_minutes"]
    for stage in STAGES:
        optimizer = fitting.stage_optimizer(stage)
        described[f"{stage}_optimizer"] = (
            optimizer and keras.saving.serialize_keras_object(optimizer)
        )
    for name, questions in zip(
        ("questions", "validation_data"), sets, strict=False
    ):
        described[name] = _digits(
            json_sha256({"": [dataclasses.asdict(q) for q in questions]})
        )
    backbone = qa.reader.backbone
    return described | {
        "corpus": _digits(corpus.fingerprint),
        "query_embedder": _digits(
            embedder_fingerprint(qa.query_embedder, qa.featurizer)
        ),
        "block_embedder": _digits(qa.embedder_fingerprint),
        "reader": _digits(reader_fingerprint(qa.reader, qa.featurizer)),
        "lexical_weight": qa.lexical_weight,
        "official": qa.official,
        "dropout": backbone.dropout,
        "dtype": backbone.dtype_policy.name,
    }


def random_seeds(qa: QuestionAnswerer) -> list[keras.Variable]:
    """States of the random numbers of dropout."""
    layers = qa.parts.layers.values()
    weights = {id(w) for layer in layers for w in layer.weights}
    return [
        variable
        for layer in layers
        for variable in layer.variables
        if id(variable) not in weights
    ]


def _check_empty(path: pathlib.Path) -> None:
    if there := [n for n in os.listdir(path) if not n.startswith(".")]:
        raise FolderError(
            "`work` must be a new folder, or that of a fine-tuning. Received: "
            f"{path}, which holds {sorted(there)[0]}. Choose another folder."
        )


def _write(
    folder: pathlib.Path, arrays: Mapping[str, Any], options: dict[str, Any]
) -> None:
    with write_folder(folder, KIND) as writer:
        np.savez(writer.path / _ARRAYS_NAME, **arrays)
        writer.describe(options=options)


def _digits(fingerprint: str) -> str:
    return fingerprint[:_DIGITS]
