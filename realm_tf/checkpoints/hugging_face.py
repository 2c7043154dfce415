"""Folders of Hugging Face's REALM and BERT models -> our parts."""

import pathlib
import re
from typing import Any

from realm_tf import _constants
from realm_tf.checkpoints.checkpoint import Checkpoint, Embeddings
from realm_tf.checkpoints.files.safetensors_file import SafetensorsFile
from realm_tf.checkpoints.files.tensor_file import (
    JoinedTensorFile,
    RenamedTensorFile,
    TensorFile,
)
from realm_tf.checkpoints.files.torch_file import TorchFile
from realm_tf.checkpoints.json_object import read_json
from realm_tf.checkpoints.part_loader import PartLoader
from realm_tf.checkpoints.presets import Parts
from realm_tf.checkpoints.variable_names import (
    EMBEDDER,
    ENCODER,
    HUGGING_FACE,
    READER,
    PartNames,
)
from realm_tf.checkpoints.vocabularies import open_featurizer
from realm_tf.errors import CheckpointError
from realm_tf.options import LoadOptions

CONFIG_NAME = "config.json"
EMBEDDINGS_NAME = "block_emb"
RECORDS_NAME = "block_records.npy"
# Preferred first: it cannot hold code.
_FILES = (
    ("model.safetensors", SafetensorsFile),
    ("pytorch_model.bin", TorchFile),
)
_ACTIVATIONS = {"realm": ("gelu_new", "gelu_pytorch_tanh"), "bert": ("gelu",)}
_EPSILON = 1e-12  # of every backbone and of the released embedder
_OTHER_HEADS = r"(cls[.]seq_relationship|classifier|qa_outputs)[.]"
# The bias has two names, of which a file may hold either.
_HEAD_BIASES = {"cls.predictions.bias", "cls.predictions.decoder.bias"}
_UNUSED_HEAD = "a masked-LM head that this part does not use"


def is_hugging_face(folder: pathlib.Path) -> bool:
    """Whether a folder is in this layout."""
    return (folder / CONFIG_NAME).is_file() and has_weights(folder)


def has_weights(folder: pathlib.Path) -> bool:
    """Whether `open_tensors` finds weights in a folder."""
    return any(
        (folder / name).is_file() or (folder / f"{name}.index.json").is_file()
        for name, _ in _FILES
    )


def load_hugging_face(folder: pathlib.Path, options: LoadOptions) -> Checkpoint:
    """Loads a folder of one of the REALM models, or of any BERT.

    RealmEmbedder, -Scorer, -KnowledgeAugEncoder, -Reader and -ForOpenQA are
    told apart by the names of their variables.

    Raises:
        CheckpointError: if variables are missing or left over, or it computes
            what our layers do not.
    """
    config = _read_config(folder)
    file = _with_new_names(open_tensors(folder))
    dropout = options.dropout
    loader = PartLoader(
        file,
        num_heads=options.num_heads or config["num_attention_heads"],
        dropout=config.get("hidden_dropout_prob", 0.1)
        if dropout is None
        else dropout,
        dtype=options.dtype,
        partial=options.partial,
    )
    loader.skip("positions in order", lambda n: n.endswith("position_ids"))
    kind, parts = _load_parts(loader, config)
    backbone = next(iter(parts.values())).backbone
    _check_config(folder, config, backbone)
    is_realm = config["model_type"] == "realm"
    featurizer = open_featurizer(
        folder,
        options.vocabulary,
        backbone,
        joint_length=config.get("reader_seq_len", _constants.JOINT_LENGTH),
        joint_title=not is_realm,
    )
    embeddings = None
    if EMBEDDINGS_NAME in file.shapes:
        embeddings = Embeddings(file, EMBEDDINGS_NAME)
        loader.skip(
            "embeddings of the corpus, see the index",
            lambda name: name == EMBEDDINGS_NAME,
        )
    loader.finish()
    records = folder / RECORDS_NAME
    num_read = {"num_read": config.get("reader_beam_size", 5)}
    return Checkpoint(
        source=str(folder),
        format=kind,
        parts=Parts(
            featurizer, **parts, options=num_read if "reader" in parts else {}
        ),
        used=tuple(dict.fromkeys(loader.used)),
        skipped=loader.skipped,
        initial=tuple(loader.initial),
        notes=_notes(config, kind),
        embeddings=embeddings,
        records=records if records.is_file() else None,
    )


def open_tensors(folder: pathlib.Path) -> TensorFile:
    """The weights of a folder, in one file or in several.

    Raises:
        CheckpointError: if there are none.
    """
    for name, opener in _FILES:
        if (folder / name).is_file():
            return opener(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            names = set(read_json(index).get("weight_map", {}).values())
            outside = [n for n in names if pathlib.PurePath(n).name != n]
            if outside or not names:
                raise CheckpointError(
                    f"{index} must name files of its own folder. Received: "
                    f"{outside}. Take the folder from its publisher."
                )
            files: list[TensorFile] = [
                opener(folder / part) for part in sorted(names)
            ]
            return JoinedTensorFile(index, files)
    raise CheckpointError(
        f"{folder} must hold model.safetensors or pytorch_model.bin. "
        "Received: neither. Download the whole repository."
    )


def _load_parts(
    loader: PartLoader, config: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    shapes = loader.file.shapes
    if config["model_type"] == "bert":
        return "BERT", _bert(loader)
    if any(name.startswith("reader.") for name in shapes):
        parts = {
            "query_embedder": _embedder(loader, "embedder.", "query_embedder"),
            "reader": _reader(loader, "reader.", config),
        }
        parts["block_embedder"] = parts["query_embedder"]
        return "RealmForOpenQA", parts
    if any(re.match("(query_)?embedder[.]", name) for name in shapes):
        return "RealmScorer", _scorer(loader)
    if any(name.startswith("qa_outputs.") for name in shapes):
        return "RealmReader", {"reader": _reader(loader, "", config)}
    if any(name.startswith("cls.dense.") for name in shapes):
        embedder = _embedder(loader, "", "query_embedder")
        return "RealmEmbedder", {
            "query_embedder": embedder,
            "block_embedder": embedder,
        }
    return "RealmKnowledgeAugEncoder", {"encoder": _encoder(loader, "realm.")}


def _embedder(loader: PartLoader, prefix: str, name: str) -> Any:
    names = PartNames(EMBEDDER, HUGGING_FACE, f"{prefix}realm.", prefix)
    layer = loader.load(names, name=name, layer_norm_epsilon=_EPSILON)
    _skip_head(loader, prefix)
    return layer


def _reader(loader: PartLoader, prefix: str, config: dict[str, Any]) -> Any:
    names = PartNames(READER, HUGGING_FACE, f"{prefix}realm.", prefix)
    layer = loader.load(
        names,
        name="reader",
        max_span_width=config.get("max_span_width", 10),
        layer_norm_epsilon=config.get("reader_layer_norm_eps", 1e-3),
    )
    _skip_head(loader, prefix)
    return layer


def _encoder(loader: PartLoader, backbone: str) -> Any:
    aliases = {"masked_lm_head/output_bias": "cls.predictions.decoder.bias"}
    layer = loader.load(
        PartNames(ENCODER, HUGGING_FACE, backbone, ""),
        aliases=aliases,
        name="encoder",
    )
    loader.skip(
        "tied to the word embeddings, or another name of the bias",
        lambda name: name.startswith("cls.predictions.decoder."),
    )
    return layer


def _scorer(loader: PartLoader) -> dict[str, Any]:
    """One embedder or two.

    Two that share their weights are saved under one name, or under both.
    """
    shapes = loader.file.shapes
    prefixes = [
        prefix
        for prefix in ("embedder.", "query_embedder.")
        if any(name.startswith(prefix) for name in shapes)
    ]
    if len(prefixes) == 2 and _are_equal(loader.file):
        loader.skip(
            "the block embedder by another name",
            lambda name: name.startswith("query_embedder."),
        )
        del prefixes[1]
    if len(prefixes) == 1:
        shared = _embedder(loader, prefixes[0], "query_embedder")
        return {"query_embedder": shared, "block_embedder": shared}
    return {
        "query_embedder": _embedder(
            loader, "query_embedder.", "query_embedder"
        ),
        "block_embedder": _embedder(loader, "embedder.", "block_embedder"),
    }


def _are_equal(file: TensorFile) -> bool:
    own = {n for n in file.shapes if n.startswith("embedder.")}
    if own != {
        n.removeprefix("query_")
        for n in file.shapes
        if n.startswith("query_embedder.")
    }:
        return False
    return all(
        file.shapes[n] == file.shapes[f"query_{n}"]
        and (file.read(n) == file.read(f"query_{n}")).all()
        for n in sorted(own)
    )


def _bert(loader: PartLoader) -> dict[str, Any]:
    """Parts that start from any BERT: new heads, and its masked-LM head."""
    backbone = _bert_prefix(loader.file)
    parts = loader.load_start(PartNames(EMBEDDER, HUGGING_FACE, backbone))
    if _HEAD_BIASES & loader.file.shapes.keys():
        parts["encoder"] = _encoder(loader, backbone)
    loader.skip(
        "a head of another task",
        lambda name: re.match(_OTHER_HEADS, name) is not None,
    )
    return parts


class BertWeights:
    """The weights of a BERT folder, for as many parts as are asked for.

    Args:
        folder: with `config.json` and weights in one file or several.
        dropout: rate of hidden and attention dropout in training.
        dtype: dtype or policy; defaults to Keras' global policy.

    Raises:
        CheckpointError: if there are none, or they compute what our layers
            do not.
    """

    def __init__(
        self, folder: pathlib.Path, *, dropout: float, dtype: Any = None
    ):
        self._folder = folder
        self._config = _read_config(folder)
        self._file = _with_new_names(open_tensors(folder))
        self._options = {"dropout": dropout, "dtype": dtype}

    def backbone(self) -> Any:
        """A new `keras_hub.models.BertBackbone` with the weights."""
        names = PartNames(EMBEDDER, HUGGING_FACE, _bert_prefix(self._file))
        backbone = self._loader().load_backbone(names)
        _check_config(self._folder, self._config, backbone)
        return backbone

    def encoder(self) -> Any | None:
        """The encoder of masked words, if the folder has their head."""
        if not _HEAD_BIASES & self._file.shapes.keys():
            return None
        return _encoder(self._loader(), _bert_prefix(self._file))

    def _loader(self) -> PartLoader:
        heads = self._config["num_attention_heads"]
        return PartLoader(self._file, num_heads=heads, **self._options)


def _bert_prefix(file: TensorFile) -> str:
    """What is before the names of a BERT's backbone."""
    return "bert." if any(n.startswith("bert.") for n in file.shapes) else ""


def _skip_head(loader: PartLoader, prefix: str) -> None:
    loader.skip(
        _UNUSED_HEAD, lambda name: name.startswith(f"{prefix}cls.predictions.")
    )


def _with_new_names(file: TensorFile) -> TensorFile:
    """Gives old conversions of TF1 checkpoints today's names."""
    new_names = {
        name: re.sub("gamma$", "weight", re.sub("beta$", "bias", name))
        for name in file.shapes
        if re.search("LayerNorm[.](gamma|beta)$", name)
    }
    return RenamedTensorFile(file, new_names) if new_names else file


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
    config = read_json(folder / CONFIG_NAME)
    kind = config.get("model_type")
    if kind not in _ACTIVATIONS:
        raise CheckpointError(
            f"`model_type` must be one of {sorted(_ACTIVATIONS)}. Received: "
            f"{kind!r} in {folder / CONFIG_NAME}. Choose a checkpoint of REALM "
            "or BERT."
        )
    return {"num_attention_heads": 12} | config


def _check_config(
    folder: pathlib.Path, config: dict[str, Any], backbone: Any
) -> None:
    """Checks the settings that the variables do not show."""
    gelu = config.get("hidden_act")
    epsilon = config.get("layer_norm_eps", _EPSILON)
    both = (*_ACTIVATIONS["realm"], *_ACTIVATIONS[config["model_type"]], None)
    if gelu not in both or epsilon != _EPSILON:
        raise CheckpointError(
            f"A backbone must have `hidden_act` in {both[:-1]} and "
            f"`layer_norm_eps` {_EPSILON}. Received: {gelu!r} and {epsilon} in "
            f"{folder / CONFIG_NAME}. Choose another checkpoint."
        )
    for name, found in (
        ("vocab_size", backbone.vocabulary_size),
        ("num_hidden_layers", backbone.num_layers),
        ("hidden_size", backbone.hidden_dim),
        ("intermediate_size", backbone.intermediate_dim),
    ):
        if config.get(name, found) != found:
            raise CheckpointError(
                f"`{name}` must be that of the weights. Received: "
                f"{config[name]} in {folder / CONFIG_NAME}, {found} in the "
                "weights. Take both from one checkpoint."
            )


def _notes(config: dict[str, Any], kind: str) -> tuple[str, ...]:
    notes = []
    if config.get("pad_token_id") not in (0, None):
        notes.append(
            f"`pad_token_id` {config['pad_token_id']} of the configuration is "
            "wrong for this vocabulary; [PAD] was looked up."
        )
    if config.get("hidden_act") == "gelu":
        notes.append("The exact GELU is computed by its tanh formula.")
    if kind == "RealmForOpenQA":
        notes.append(
            "Blocks were embedded by the embedder before fine-tuning, which "
            "is not in this checkpoint. Import it too, to add documents."
        )
    return tuple(notes)
