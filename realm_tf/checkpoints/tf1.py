"""TF1 checkpoints of REALM, ORQA and ICT -> our parts.

Hub modules nest their variables at different depths (`module/module/...`), so
parts are found by how names end, and heads by going up from their backbone.
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from realm_tf import _constants
from realm_tf.checkpoints.checkpoint import Checkpoint, Embeddings
from realm_tf.checkpoints.files.tensor_file import TensorFile
from realm_tf.checkpoints.files.tf_checkpoint import (
    TFCheckpoint,
    is_tf_checkpoint,
)
from realm_tf.checkpoints.model_garden import ModelGardenFile, is_model_garden
from realm_tf.checkpoints.part_loader import PartLoader
from realm_tf.checkpoints.presets import Parts
from realm_tf.checkpoints.variable_names import (
    EMBEDDER,
    ENCODER,
    READER,
    TF1,
    PartNames,
)
from realm_tf.checkpoints.vocabularies import (
    has_vocabulary,
    open_featurizer,
)
from realm_tf.errors import CheckpointError
from realm_tf.options import LoadOptions

EMBEDDINGS_NAME = "block_emb"
_ENCODED = "encoded/encoded.ckpt"
_HUB_MODULE = "variables/variables"
_BEST = "export/best_default/checkpoint"
_BERT = "bert_model.ckpt"
_PARAMS = "params.json"
_BERT_CONFIG = "bert_config.json"
_TABLE = "bert/embeddings/word_embeddings"
_WORDS_HEAD = "cls/predictions/output_bias"
_OPTIMIZER = re.compile(
    r"(^|/)(adam_[mv]|AdamWeightDecayOptimizer[^/]*|global_step|save_counter"
    r"|optimizer|[.]OPTIMIZER_SLOT|_CHECKPOINTABLE_OBJECT_GRAPH)(/|$)"
)
_SENTENCES_HEAD = re.compile(
    r"(^|/)(cls/seq_relationship|classification|classification_heads)/"
)
_HUB, _GARDEN, _GOOGLE = "TF1 hub module", "Model Garden BERT", "Google BERT"
_READER_EPSILON = "reader_layer_norm_eps"
# The name of the layer norm tells who made it, and so its epsilon.
_EPSILONS = {"LayerNorm": 1e-12, "layer_normalization": 1e-3}


def find_prefix(path: pathlib.Path) -> str | None:
    """Prefix of the checkpoint of a TF1 folder, or None if it is none.

    Args:
        path: a hub module, a fine-tuned ORQA folder, a folder of a trainer,
            a BERT of Google or of the Model Garden, or itself the prefix of
            a checkpoint.
    """
    if is_tf_checkpoint(path):
        return str(path)
    if is_tf_checkpoint(path / _HUB_MODULE):
        return str(path / _HUB_MODULE)
    for folder in (path / _BEST, path):
        if prefixes := _by_step(folder):
            return prefixes[0]
    return str(path / _BERT) if is_tf_checkpoint(path / _BERT) else None


def load_tf1(path: pathlib.Path, options: LoadOptions) -> Checkpoint:
    """Loads a TF1 checkpoint; see `find_prefix`.

    What a hub module computes is not read: `variables/` and `assets/` alone
    decide.

    Raises:
        CheckpointError: if variables are missing or left over.
    """
    opened, notes = _open_newest(path)
    root = _root(path)
    params = _read_json(root / _BERT_CONFIG) | _read_json(root / _PARAMS)
    file: TensorFile = opened
    kind = _kind(root, opened)
    if kind == _GARDEN:
        file = ModelGardenFile(opened)
        params["num_attention_heads"] = file.num_heads
    _check_params(root, params)
    dropout = params.get("hidden_dropout_prob", 0.1)
    loader = PartLoader(
        file,
        num_heads=options.num_heads or params.get("num_attention_heads"),
        dropout=dropout if options.dropout is None else options.dropout,
        dtype=options.dtype,
        partial=options.partial,
    )
    loader.skip(
        "state of the training",
        lambda name: _OPTIMIZER.search(name) is not None,
    )
    is_start = kind in (_GARDEN, _GOOGLE)
    parts = _load_start(loader) if is_start else _load_parts(loader, params)
    _skip_heads(loader)
    loader.finish()
    featurizer = open_featurizer(
        _vocabulary_folder(root, params),
        options.vocabulary,
        next(iter(parts.values())).backbone,
        joint_length=params.get("reader_seq_len", _constants.JOINT_LENGTH),
        joint_title=is_start,
    )
    encoded = root / _ENCODED
    num_read = {"num_read": params.get("reader_beam_size", 5)}
    if not kind:
        is_orqa = params and {"query_embedder", "reader"} <= parts.keys()
        kind = "fine-tuned ORQA" if is_orqa else "TF1 checkpoint"
    return Checkpoint(
        source=str(path),
        format=kind,
        parts=Parts(
            featurizer, **parts, options=num_read if "reader" in parts else {}
        ),
        used=tuple(dict.fromkeys(loader.used)),
        skipped=loader.skipped,
        initial=tuple(loader.initial),
        notes=tuple(notes),
        embeddings=open_embeddings(encoded)
        if is_tf_checkpoint(encoded)
        else None,
    )


def open_embeddings(prefix: pathlib.Path) -> Embeddings:
    """The embeddings of a corpus.

    Args:
        prefix: of `encoded.ckpt`.

    Raises:
        CheckpointError: if there is not one matrix in it.
    """
    file = TFCheckpoint(prefix)
    shape = file.shapes.get(EMBEDDINGS_NAME, ())
    if len(file.shapes) != 1 or len(shape) != 2:
        raise CheckpointError(
            f"{prefix} must hold the matrix {EMBEDDINGS_NAME} alone. Received: "
            f"{file.shapes}. Take the embeddings from a published module."
        )
    return Embeddings(file, EMBEDDINGS_NAME)


def _open_newest(path: pathlib.Path) -> tuple[TFCheckpoint, list[str]]:
    """The newest checkpoint that is whole, and notes on those that are not."""
    prefix = find_prefix(path)
    if prefix is None:
        raise CheckpointError(
            f"{path} must hold a TensorFlow checkpoint. Received: no "
            "`.index` file where one would be. Download the whole folder."
        )
    candidates = [prefix]
    if not is_tf_checkpoint(path):
        candidates += _by_step(pathlib.Path(prefix).parent)[1:]
    notes: list[str] = []
    for candidate in candidates:
        try:
            file = TFCheckpoint(candidate)
            for name in file.shapes:
                file.read(name)
            return file, notes
        except CheckpointError as error:
            if candidate == candidates[-1]:
                raise
            notes.append(f"{pathlib.Path(candidate).name} is torn: {error}")
    raise AssertionError


def _by_step(folder: pathlib.Path) -> list[str]:
    """Prefixes of a folder's checkpoints, the newest first."""
    found = []
    for index in folder.glob("*.index") if folder.is_dir() else ():
        if step := re.search(r"-(\d+)$", index.stem):
            found.append((int(step[1]), str(index.with_suffix(""))))
    return [prefix for _, prefix in sorted(found, reverse=True)]


def _load_parts(loader: PartLoader, params: dict[str, Any]) -> dict[str, Any]:
    shapes = loader.file.shapes
    parts: dict[str, Any] = {}
    for backbone in _backbones(loader):
        names, epsilon = _classify(backbone, loader.file)
        settings: dict[str, Any] = {}
        name = names.kind
        if names.kind == EMBEDDER:
            name = "query_embedder"
            settings["layer_norm_epsilon"] = epsilon
        elif names.kind == READER:
            settings["max_span_width"] = params.get("max_span_width", 10)
            if _READER_EPSILON in params:
                settings["layer_norm_epsilon"] = params[_READER_EPSILON]
        if name in parts:
            raise CheckpointError(
                "A checkpoint must hold one embedder, one encoder and one "
                f"reader at most. Received: two for {name} in "
                f"{loader.file.path}, the second at {backbone!r}. Import parts "
                "from checkpoints of their own."
            )
        parts[name] = loader.load(names, name=name, **settings)
    if not parts:
        raise CheckpointError(
            f"{loader.file.path} must hold a BERT. Received: no variable whose "
            f"name ends in {_TABLE}, but {sorted(shapes)[:5]}. Choose a "
            "checkpoint of REALM or ORQA."
        )
    if "query_embedder" in parts:
        parts["block_embedder"] = parts["query_embedder"]
    return parts


def _load_start(loader: PartLoader) -> dict[str, Any]:
    """Parts that start from a BERT: new heads, and its masked-LM head."""
    backbones = _backbones(loader)
    if len(backbones) != 1:
        raise loader.file.damaged(f"{len(backbones)} backbones of BERT")
    names = PartNames(EMBEDDER, TF1, backbones[0], backbones[0])
    parts = loader.load_start(names)
    if f"{backbones[0]}{_WORDS_HEAD}" in loader.file.shapes:
        names = names._replace(kind=ENCODER)
        parts["encoder"] = loader.load(names, name="encoder")
    return parts


def _skip_heads(loader: PartLoader) -> None:
    loader.skip(
        "a masked-LM head that this part does not use",
        lambda name: re.search("(^|/)cls/predictions/", name) is not None,
    )
    loader.skip(
        "next-sentence prediction",
        lambda name: _SENTENCES_HEAD.search(name) is not None,
    )
    loader.skip(
        "a classifier's own pooler",
        lambda name: name.startswith("reader/pooler/"),
    )


def _backbones(loader: PartLoader) -> list[str]:
    return sorted(
        name.removesuffix(_TABLE)
        for name in loader.file.shapes
        if name.endswith(_TABLE) and name not in loader.skipped
    )


def _classify(backbone: str, file: TensorFile) -> tuple[PartNames, float]:
    """What a backbone belongs to, by the head that is nearest above it."""
    for head in _ancestors(backbone):
        if f"{head}dense_1/kernel" in file.shapes:
            return PartNames(READER, TF1, backbone, head), 0.0
        for norm, epsilon in _EPSILONS.items():
            if f"{head}{norm}/gamma" in file.shapes:
                return PartNames(EMBEDDER, TF1, backbone, head, norm), epsilon
    for head in _ancestors(backbone):
        if f"{head}{_WORDS_HEAD}" in file.shapes:
            return PartNames(ENCODER, TF1, backbone, head), 0.0
    raise CheckpointError(
        f"Every backbone of {file.path} must have a head. Received: "
        f"{backbone!r} without a projection, a span reader or a masked-LM "
        "head. Choose a published checkpoint."
    )


def _ancestors(prefix: str) -> Iterator[str]:
    """The prefix itself and those above it, down to the empty one."""
    yield prefix
    while prefix:
        above, slash, _ = prefix.removesuffix("/").rpartition("/")
        prefix = above + slash
        yield prefix


def _read_json(file: pathlib.Path) -> dict[str, Any]:
    """The object in a file; an empty one if there is no file."""
    if not file.is_file():
        return {}
    try:
        params = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} must hold a JSON object. Received: {error}. Download it "
            "again."
        ) from error
    return params if isinstance(params, dict) else {}


def _check_params(root: pathlib.Path, params: dict[str, Any]) -> None:
    """Checks the settings that the variables do not show."""
    allowed: dict[str, tuple[type, ...]] = {
        "num_attention_heads": (int,),
        "max_span_width": (int,),
        "reader_seq_len": (int,),
        "reader_beam_size": (int,),
        "hidden_dropout_prob": (int, float),
        _READER_EPSILON: (int, float),
    }
    wrong = [
        n for n, t in allowed.items() if type(params.get(n, t[0]())) not in t
    ]
    if params.get("hidden_act", "gelu") not in ("gelu", "gelu_new"):
        wrong.append("hidden_act")
    if wrong:
        found = {name: params[name] for name in wrong}
        raise CheckpointError(
            f"The settings of {root} must be numbers, and `hidden_act` gelu. "
            f"Received: {found}. Take the folder from its publisher."
        )


def _root(path: pathlib.Path) -> pathlib.Path:
    """The folder that a checkpoint belongs to; `path` may be its prefix."""
    if path.is_dir():
        return path
    folder = path.absolute().parent
    for inside in (_BEST, "variables"):
        if folder.as_posix().endswith(f"/{inside}"):
            return folder.parents[inside.count("/")]
    return folder


def _vocabulary_folder(
    root: pathlib.Path, params: dict[str, Any]
) -> pathlib.Path:
    """Where the vocabulary is: here, or in a module on this disk.

    Published folders name modules at `gs://...`, which are not looked at.
    """
    modules = (
        pathlib.Path(str(params.get(name) or root))
        for name in ("retriever_module_path", "reader_module_path")
    )
    return next(filter(has_vocabulary, (root, *modules)), root)


def _kind(root: pathlib.Path, file: TensorFile) -> str:
    """Name of the layout, if it does not depend on the parts."""
    if is_model_garden(file.shapes):
        return _GARDEN
    if is_tf_checkpoint(root / _HUB_MODULE):
        return _HUB
    # A trainer may keep such a file beside a checkpoint with more than a BERT.
    is_bert = [n for n in file.shapes if n.endswith(_TABLE)] == [_TABLE]
    return _GOOGLE if is_bert and (root / _BERT_CONFIG).is_file() else ""
