"""Exports a model, its corpus and its index to a folder for servers."""

import contextlib
import os
import pathlib
import re
from typing import Any

from realm_tf._files import writer_lock
from realm_tf._progress import Progress, no_progress
from realm_tf.checkpoints.presets import Parts
from realm_tf.engine.fingerprints import (
    embedder_fingerprint,
    reader_fingerprint,
)
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.errors import FolderError, MismatchError
from realm_tf.options import ExportOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving import bundle as bundles
from realm_tf.serving.bundle import Bundle
from realm_tf.serving.export import bundle_parts, saved_model
from realm_tf.serving.export.module_builder import ModuleBuilder
from realm_tf.serving.export.server_configs import (
    CONFIG_NAMES,
    write_server_configs,
)

# Of `bundle_parts`.
_SIDE_NAME = re.compile(r"index|corpus(-\d+)?|vocabulary(-\d+)?\.txt")


def export(
    parts: Parts,
    index: BlockIndex | None,
    folder: str | os.PathLike[str],
    options: ExportOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> Bundle:
    """Exports a model for TensorFlow Serving, with its index at its side.

    A folder with an earlier export gets the next version of each model, and of
    the index if the index is new. Documents that were added in the folder to
    the same corpus come along, embedded with the new model.

    A server loads whatever it finds, so all files are first written under other
    names. Then come, right after each other: the index, the models by a rename
    each, and bundle.json, which names the versions that belong together. An
    export that is killed before changes nothing; an export that is killed in
    between leaves whole versions without a place in bundle.json. Export again
    then.

    Args:
        parts: of the model.
        index: `BlockIndex` of the model, which is exported with its corpus; or
            None.
        folder: created if it does not exist.
        options: `ExportOptions`.
        progress: see `Progress`; its stage is "export", its units are parts.

    Returns:
        `Bundle`, as `read_bundle` reads it.

    Raises:
        ExportError: if a graph holds what a stock server has not.
        FolderError: if `folder` holds something else, or documents that were
            folded into its corpus would be lost.
        MismatchError: if the index is not that of the model, or models that
            stay in the folder are not.
        ValueError: if an option is wrong, or a model needs an index.
    """
    options = options or ExportOptions()
    folder = pathlib.Path(folder)
    fingerprints = _fingerprints(parts)
    _check_index(parts, index, options, fingerprints["embedder"])
    # Before anything is written, which takes minutes.
    _previous(folder)
    if index is not None:
        bundle_parts.check_updates(folder, index)
    num_parts = 1 + len(options.models)
    with writer_lock(folder):
        previous = _previous(folder)
        models = _kept_models(previous, options, fingerprints)
        saved_model.remove_leftovers(folder)
        builder = ModuleBuilder(parts, index, options, fingerprints)
        with contextlib.ExitStack() as publishing:
            for done, name in enumerate(options.models, 1):
                progress("export", done, num_parts, {})
                with builder.module(name) as module:
                    version = saved_model.write_version(
                        folder,
                        name,
                        module,
                        builder.requests(name),
                        fingerprints,
                    )
                    models[name] = publishing.enter_context(version)
            # Before the models: what they embed must be found.
            side = _write_side(
                parts, index, folder, previous, fingerprints["embedder"]
            )
        write_server_configs(folder, models, options.server_path)
        bundle = Bundle(
            path=folder,
            featurizer=parts.featurizer.get_config(),
            num_read=parts.options["num_read"],
            num_answers=_num_answers(options, previous),
            max_span_width=parts.reader.max_span_width,
            embedding_dim=parts.block_embedder.embedding_dim,
            lexical_weight=parts.options["lexical_weight"],
            models=models,
            **{f"{part}_fingerprint": f for part, f in fingerprints.items()},
            **side,
        )
        bundles.write_bundle(bundle)
        progress("export", num_parts, num_parts, {})
    return bundle


def _fingerprints(parts: Parts) -> dict[str, str]:
    featurizer = parts.featurizer
    return {
        "embedder": embedder_fingerprint(parts.block_embedder, featurizer),
        "reader": reader_fingerprint(
            parts.reader, featurizer, parts.calibration
        ),
        "tokenizer": featurizer.fingerprint,
    }


def _check_index(
    parts: Parts,
    index: BlockIndex | None,
    options: ExportOptions,
    of_model: str,
) -> None:
    alone = {bundles.QA, bundles.SCANN_QA} & set(options.models)
    if alone and index is None:
        raise ValueError(
            f"{', '.join(sorted(alone))} must have an index to answer from. "
            "Received: none. Call `build_index` or `open_index` first, or "
            "name a corpus."
        )
    if not parts.options["projection_fitted"]:
        raise ValueError(
            "The projection must be fitted before the export. Received: a "
            "sentence encoder that has seen no corpus. Call `build_index` or "
            "fine-tune it first."
        )
    if index is None:
        return
    of_index = index.embedder_fingerprint
    if index.is_mismatched or of_index != of_model:
        raise MismatchError(
            "The index must be the model's own. Received:\n"
            f"  index={of_index[:16]}\n"
            f"  model={of_model[:16]}\n"
            "Rebuild it with `build_index`, or `realm-tf index build`."
        )
    if parts.options["lexical_weight"] and not index.has_words:
        raise MismatchError(
            "The index must have a lexical part, as the model compares words. "
            f"Received: lexical_weight={parts.options['lexical_weight']}, "
            f"{index.folder} without one. Rebuild it with `build_index`, or "
            "`realm-tf index build`."
        )


def _previous(folder: pathlib.Path) -> Bundle | None:
    if (folder / bundles.BUNDLE_NAME).exists():
        return bundles.read_bundle(folder)
    # A first export that was killed leaves all but bundle.json.
    if folder.is_dir() and any(folder.iterdir()):
        names = {p.name for p in folder.iterdir() if p.name[:1] != "."}
        names -= {*bundles.MODEL_NAMES, *CONFIG_NAMES}
        others = {name for name in names if not _SIDE_NAME.fullmatch(name)}
        if others:
            raise FolderError(
                "An export must go to a new folder or to an earlier export. "
                f"Received: {folder}, which holds {', '.join(sorted(others))}. "
                "Choose another folder."
            )
    return None


def _kept_models(
    previous: Bundle | None,
    options: ExportOptions,
    fingerprints: dict[str, str],
) -> dict[str, int]:
    """Models of an earlier export that this one does not replace."""
    if previous is None:
        return {}
    kept = {
        name: version
        for name, version in previous.models.items()
        if name not in options.models
    }
    same = all(
        getattr(previous, f"{part}_fingerprint") == fingerprint
        for part, fingerprint in fingerprints.items()
    )
    if kept and not same:
        raise MismatchError(
            "All models of a folder must be exported from one model. Received: "
            f"other weights or another tokenizer, without {', '.join(kept)}. "
            "Name these in `models` too, or choose another folder."
        )
    return kept


def _num_answers(options: ExportOptions, previous: Bundle | None) -> int:
    if previous is None or bundles.READER in options.models:
        return options.num_answers
    return previous.num_answers


def _write_side(
    parts: Parts,
    index: BlockIndex | None,
    folder: pathlib.Path,
    previous: Bundle | None,
    of_model: str,
) -> dict[str, Any]:
    """Writes vocabulary, corpus and index; returns their names."""
    side: dict[str, Any] = {
        "vocabulary": bundle_parts.write_vocabulary(folder, parts.featurizer)
    }
    if index is not None:
        side["corpus"] = bundle_parts.copy_corpus(folder, index.corpus)
        embedder = TextEmbedder(parts.block_embedder, parts.featurizer)
        side["index"] = bundle_parts.copy_index(folder, index, embedder.blocks)
    elif previous and previous.embedder_fingerprint == of_model:
        side |= {"corpus": previous.corpus, "index": previous.index}
    return side
