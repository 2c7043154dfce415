"""Loads parts from presets, BERTs and published checkpoints."""

import dataclasses
import inspect
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from realm_tf._manifest import MANIFEST_NAME
from realm_tf.checkpoints import named_presets, unknown_folder
from realm_tf.checkpoints.bert import BertFolder, is_bert_folder
from realm_tf.checkpoints.checkpoint import Checkpoint
from realm_tf.checkpoints.fetching import fetched
from realm_tf.checkpoints.hugging_face import (
    is_hugging_face,
    load_hugging_face,
)
from realm_tf.checkpoints.presets import (
    Parts,
    build,
    copy_layer,
    read_preset,
)
from realm_tf.checkpoints.sentence_modules import MODULES_NAME
from realm_tf.checkpoints.tf1 import find_prefix, load_tf1
from realm_tf.checkpoints.variable_names import READER, head_paths
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import CheckpointError
from realm_tf.layers.span_reader import SpanReader
from realm_tf.options import LoadOptions

Source = str | os.PathLike[str]
Loader = Callable[[pathlib.Path, LoadOptions], Checkpoint]
_FORMATS: dict[str, tuple[Callable[[pathlib.Path], Any], Loader]] = {
    "hugging_face": (is_hugging_face, load_hugging_face),
    "tf1": (find_prefix, load_tf1),
}
FORMATS = ("auto", *_FORMATS)


def load(
    source: Source,
    *,
    format: str = "auto",
    **options: Any,
) -> Checkpoint:
    """Loads a published checkpoint into our parts.

    Nothing that the checkpoint holds is run. Each of its variables is used
    once or listed in `Checkpoint.skipped`.

    Args:
        source: a folder of Hugging Face's REALM or BERT models, a TF1 hub
            module, a fine-tuned ORQA folder, a BERT of Google or of the
            TensorFlow Model Garden, a TF checkpoint or its folder; on the
            disk, at `gs://...`, or `hf://owner/name`.
        format: "auto", "hugging_face" or "tf1".
        **options: of `LoadOptions`.

    Returns:
        `Checkpoint`.

    Raises:
        CheckpointError: if it is none of these, is damaged, or has variables
            missing or left over.
        ImportError: if `hf://` is asked for without huggingface_hub.
        UnsafePickleError: if a pickle in it holds more than tensors.
        ValueError: if `format` is unknown.

    Example:
    ```python
    checkpoint = load("realm-orqa-nq-openqa")
    checkpoint.save("preset")
    ```
    """
    if format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {FORMATS}. Received: format={format!r}."
        )
    path = fetched(source)
    if (path / MODULES_NAME).is_file():
        raise CheckpointError(
            "A sentence encoder is not imported: its pooling would be lost. "
            f"Received: {source}, with {MODULES_NAME}. Start from it: "
            "`RealmQA.from_preset`, or `realm-tf finetune --bert`."
        )
    names = list(_FORMATS) if format == "auto" else [format]
    for name in names:
        recognises, loader = _FORMATS[name]
        if format != "auto" or recognises(path):
            checkpoint = loader(path, LoadOptions(**options))
            return dataclasses.replace(checkpoint, source=str(source))
    raise CheckpointError(
        "`source` must be a checkpoint in a published layout. Received: "
        f"{source}, {unknown_folder.describe(path)}"
    )


def combine(
    checkpoints: Sequence[Checkpoint], block_embedder: Checkpoint | None = None
) -> Checkpoint:
    """One checkpoint with the parts of several.

    An embedder and an encoder without a reader get one: the backbone of the
    encoder with a new head, as fine-tuning begins in the original.

    Args:
        checkpoints: with different parts and one vocabulary.
        block_embedder: its embedder embeds blocks, in place of the one that
            embeds questions.

    Raises:
        CheckpointError: if two have the same part, or other vocabularies.
    """
    first = checkpoints[0]
    everything = [*checkpoints, *([block_embedder] if block_embedder else [])]
    layers: dict[str, Any] = {}
    for checkpoint in everything:
        featurizer = checkpoint.parts.featurizer
        if featurizer.fingerprint != first.parts.featurizer.fingerprint:
            raise CheckpointError(
                "Checkpoints that are combined must share a vocabulary. "
                f"Received: {first.source} and {checkpoint.source}, which do "
                "not. Import them one by one."
            )
        found = checkpoint.parts.layers
        if checkpoint is block_embedder:
            found = {"block_embedder": _embedder(checkpoint)}
        if twice := sorted(layers.keys() & found.keys()):
            advice = (
                "Name the one that embeds blocks with `block_embedder`, or "
                "`--block-embedder`."
                if twice[0] == "query_embedder"
                else "Import them one by one."
            )
            raise CheckpointError(
                "Checkpoints that are combined must have different parts. "
                f"Received: a second {twice[0]} in {checkpoint.source}. "
                f"{advice}"
            )
        layers |= found
    if "query_embedder" in layers:
        layers.setdefault("block_embedder", layers["query_embedder"])
    initial = list(itertools.chain(*(c.initial for c in everything)))
    is_pretrained = {"query_embedder", "encoder"} <= layers.keys()
    if is_pretrained and "reader" not in layers:
        backbone = copy_layer(layers["encoder"]).backbone
        layers["reader"] = SpanReader(backbone, name="reader")
        build(layers["reader"])
        initial += [f"reader/{path}" for path in head_paths(READER)]
    return dataclasses.replace(
        first,
        source=", ".join(c.source for c in everything),
        format=" + ".join(c.format for c in everything),
        parts=Parts(
            first.parts.featurizer,
            **layers,
            options={
                k: v for c in everything for k, v in c.parts.options.items()
            },
        ),
        used=tuple(itertools.chain(*(c.used for c in everything))),
        skipped={k: v for c in everything for k, v in c.skipped.items()},
        initial=tuple(initial),
        notes=tuple(itertools.chain(*(c.notes for c in everything))),
        embeddings=next(
            (c.embeddings for c in everything if c.embeddings), None
        ),
        records=next((c.records for c in everything if c.records), None),
    )


def _embedder(checkpoint: Checkpoint) -> Any:
    embedder = checkpoint.parts.query_embedder
    if embedder is None:
        raise CheckpointError(
            "`block_embedder` must be a checkpoint with an embedder. Received: "
            f"{checkpoint.source}, a {checkpoint.format}. Pass the embedder "
            "that was there before fine-tuning."
        )
    return embedder


def _load_preset(
    path: pathlib.Path, *, official: bool | None = None, **options: Any
) -> Parts:
    return _answering(read_preset(path, **options), official)


def _load_bert(path: pathlib.Path, **options: Any) -> Parts:
    of_featurizer = {
        name: options.pop(name) for name in _FEATURIZER_OPTIONS & options.keys()
    }
    return BertFolder.open(path, **of_featurizer).load_parts(**options)


def _load_published(
    *sources: Source,
    block_embedder: Source | None = None,
    official: bool | None = None,
    **options: Any,
) -> Parts:
    checkpoint = combine(
        [load(source, **options) for source in sources],
        load(block_embedder, **options) if block_embedder else None,
    )
    return _answering(checkpoint.parts, official)


def _answering(parts: Parts, official: bool | None) -> Parts:
    if official is not None:
        parts.options["official"] = official
    return parts


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of folder that `load_parts` takes.

    Args:
        name: in messages.
        recognises: whether a folder is of this kind.
        load: from the folder and options to `Parts`.
        options: names of the options that it knows.
    """

    name: str
    recognises: Callable[[pathlib.Path], Any]
    load: Callable[..., Parts]
    options: frozenset[str]


def _names(function: Callable[..., Any]) -> frozenset[str]:
    keywords = inspect.signature(function).parameters.values()
    return frozenset(p.name for p in keywords if p.kind is p.KEYWORD_ONLY)


_FEATURIZER_OPTIONS = _names(Featurizer)
PRESET = Kind(
    "a preset",
    lambda path: (path / MANIFEST_NAME).is_file(),
    _load_preset,
    _names(read_preset) | _names(_load_preset),
)
BERT = Kind(
    "a BERT or sentence-transformers folder",
    is_bert_folder,
    _load_bert,
    _names(BertFolder.load_parts) | _FEATURIZER_OPTIONS,
)
PUBLISHED = Kind(
    "a published checkpoint of REALM, ORQA or BERT",
    lambda path: any(known(path) for known, _ in _FORMATS.values()),
    _load_published,
    _names(_load_published)
    | {field.name for field in dataclasses.fields(LoadOptions)},
)
KINDS = (PRESET, BERT, PUBLISHED)


def recognise(path: pathlib.Path) -> Kind:
    """The kind of a folder on this machine.

    Raises:
        CheckpointError: if it is of none, listing all that is taken.
    """
    for kind in KINDS:
        if kind.recognises(path):
            return kind
    raise CheckpointError(
        "`preset` must be the name of a preset, or the path or the address "
        f"(hf://, gs://) of {', '.join(kind.name for kind in KINDS)}. "
        f"Received: {path}, {unknown_folder.describe(path)} Names: "
        f"{', '.join(named_presets.PRESETS) or 'none yet'}."
    )


def load_parts(
    source: Source | Sequence[Source], **options: Any
) -> tuple[Parts, pathlib.Path | None]:
    """Loads whatever holds parts of a model.

    Args:
        source: name of a preset; path or address of a preset, a BERT, a
            sentence-transformers model or a published checkpoint; or several
            checkpoints with different parts, which `combine` takes.
        **options: those that the kind of `source` knows. `None` stands for
            the default.

    Returns:
        `Parts`, and the preset's folder on this machine if it is a preset.

    Raises:
        CheckpointError: if it is nothing of the kind, see `recognise`.
        FolderError: if a preset is damaged.
        ValueError: if an option is unknown, or has a bad value.
    """
    given = {k: v for k, v in options.items() if v is not None}
    if not isinstance(source, str | os.PathLike):
        _check_options(source, PUBLISHED, given)
        return PUBLISHED.load(*source, **given), None
    named = named_presets.PRESETS.get(os.fspath(source))
    path = named.path if named else fetched(source)
    kind = recognise(path)
    _check_options(source, kind, given)
    return kind.load(path, **given), path if kind is PRESET else None


def _check_options(source: object, kind: Kind, options: dict[str, Any]) -> None:
    if unknown := sorted(options.keys() - kind.options):
        raise ValueError(
            f"`{unknown[0]}` must not be given for {kind.name}. Received: "
            f"{unknown[0]}={options[unknown[0]]!r} for {source}. Its options "
            f"are {', '.join(sorted(kind.options))}."
        )
