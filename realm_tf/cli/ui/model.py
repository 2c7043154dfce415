"""A model together with its corpus and its index."""

import logging
import pathlib
from typing import TYPE_CHECKING

import click

from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.errors import FolderError, MismatchError

if TYPE_CHECKING:
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.realm_qa import RealmQA

logger = logging.getLogger(__name__)

_FINGERPRINT_CHARACTERS = 16  # of a folder's name


def open_model(
    preset: pathlib.Path,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    *,
    dtype: str,
    verify: bool,
    needs_corpus: bool = True,
) -> "RealmQA":
    """Opens a model that can answer; after `prepare_tensorflow`.

    Args:
        preset: folder of the model.
        corpus: folder of the corpus; default: the one inside the preset.
        index: folder of the index; default: the one inside the preset, which
            is built there the first time.
        dtype: see `choose_dtype`.
        verify: compare the SHA-256 of every file.
        needs_corpus: without it, a model that has no corpus has no index.

    Raises:
        UsageError: if there is no corpus, and one is needed.
    """
    from realm_tf.checkpoints.presets import CORPUS_NAME
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.realm_qa import RealmQA

    qa = RealmQA.from_preset(preset, dtype=choose_dtype(dtype), verify=verify)
    own = preset / CORPUS_NAME
    if corpus is None and not own.is_dir():
        if index is None and not needs_corpus:
            return qa
        raise click.UsageError(
            f"--corpus must be given: {preset} has no corpus inside."
        )
    opened = Corpus.open(corpus or own, verify=verify)
    if index is not None:
        qa.open_index(index, opened, verify=verify)
    elif qa.index is None or qa.index.corpus.fingerprint != opened.fingerprint:
        _open_or_build(qa, opened, kept_index(preset, opened), verify)
    return qa


def kept_index(preset: pathlib.Path, corpus: "Corpus") -> pathlib.Path:
    """Where a preset keeps the index of a corpus that it was not saved with.

    In the cache if the preset is part of the package.
    """
    from realm_tf.checkpoints.named_presets import PACKAGE, cache_folder

    if preset.is_relative_to(PACKAGE):
        preset = cache_folder() / preset.name
    return preset / "indexes" / corpus.fingerprint[:_FINGERPRINT_CHARACTERS]


def _open_or_build(
    qa: "RealmQA", corpus: "Corpus", path: pathlib.Path, verify: bool
) -> None:
    """Opens the index at `path`; builds it there if it is of no use."""
    try:
        qa.open_index(path, corpus, verify=verify)
        return
    except (FolderError, MismatchError):
        pass  # missing, damaged, or of other weights
    place: pathlib.Path | None = path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning(
            "The index cannot be kept in %s (%s) and will be rebuilt next "
            "time. Keep one elsewhere with `realm-tf index build`.",
            path,
            error.strerror,
        )
        place = None
    with progress_bar("index") as bar:
        qa.build_index(corpus, place, progress=bar.show)
