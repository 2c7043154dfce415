"""How a sentence-transformers folder makes one vector of many states."""

import dataclasses
import json
import pathlib
from typing import Any

from realm_tf.checkpoints.json_object import read_json
from realm_tf.errors import CheckpointError

MODULES_NAME = "modules.json"
_CONFIG_NAME = "config.json"
_POOLING_FOLDER = "1_Pooling"
_POOLINGS = {"mean": "mean", "cls": "first"}
# Flags of the pooling module before sentence-transformers 5.4 -> the modes
# that it names since.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "linear",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
}
_QUERY_PROMPTS = ("query",)
_BLOCK_PROMPTS = ("document", "passage", "corpus")


@dataclasses.dataclass(frozen=True)
class DenseModule:
    """A dense layer on top of the pooled states.

    Args:
        folder: with its weights.
        activation: as Keras names it.
        embedding_dim: width of its output.
    """

    folder: pathlib.Path
    activation: str
    embedding_dim: int


@dataclasses.dataclass(frozen=True)
class SentenceModules:
    """What a sentence-transformers folder does with a text.

    Args:
        transformer: folder of the backbone and its tokenizer.
        pooling: "mean" or "first", as `Embedder` has them.
        dense: `DenseModule`, if there is one.
        normalize_states: whether states are normalised before it.
        is_cosine: whether embeddings are compared by their cosine, not by
            their inner product.
        max_seq_length: wordpieces that are read of a text, if it says so.
        query_prompt: text before every question.
        block_prompt: text before every block.
    """

    transformer: pathlib.Path
    pooling: str
    dense: DenseModule | None
    normalize_states: bool
    is_cosine: bool
    max_seq_length: int | None
    query_prompt: str
    block_prompt: str


def is_sentence_folder(folder: pathlib.Path) -> bool:
    """Whether a folder is in the layout of sentence-transformers."""
    pooling = folder / _POOLING_FOLDER / _CONFIG_NAME
    return (folder / MODULES_NAME).is_file() or pooling.is_file()


def read_modules(folder: pathlib.Path) -> SentenceModules:
    """Reads the modules of a sentence-transformers folder.

    Args:
        folder: with `modules.json`; without, with `1_Pooling`.

    Raises:
        CheckpointError: if a module computes what `Embedder` does not, naming
            the module.
    """
    modules = _module_list(folder)
    kinds = [kind for kind, _ in modules if kind != "Dropout"]
    after = kinds[2:]
    # Perhaps normalised, perhaps a dense layer, perhaps normalised.
    is_known = kinds[:2] == ["Transformer", "Pooling"] and after in (
        [],
        ["Normalize"],
        ["Dense"],
        ["Dense", "Normalize"],
        ["Normalize", "Dense"],
        ["Normalize", "Dense", "Normalize"],
    )
    if not is_known:
        raise CheckpointError(
            "The modules of a sentence encoder must be Transformer, Pooling, "
            "and then at most one Dense, with Normalize before or after. "
            f"Received: {', '.join(kinds)} in {folder / MODULES_NAME}. Choose "
            "another checkpoint."
        )
    paths = dict(modules)
    settings = read_json(
        folder / "config_sentence_transformers.json", default={}
    )
    prompts = _prompts(folder, settings, paths["Pooling"])
    length = read_json(
        paths["Transformer"] / "sentence_bert_config.json", default={}
    )
    _check_case(paths["Transformer"], length)
    return SentenceModules(
        transformer=paths["Transformer"],
        pooling=_pooling(paths["Pooling"] / _CONFIG_NAME),
        dense=_dense(paths["Dense"]) if "Dense" in paths else None,
        normalize_states=after[:1] == ["Normalize"] and "Dense" in after,
        is_cosine=_is_cosine(folder, settings, after),
        max_seq_length=length.get("max_seq_length"),
        query_prompt=prompts[0],
        block_prompt=prompts[1],
    )


def _module_list(folder: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """Class and folder of each module, in order."""
    file = folder / MODULES_NAME
    if not file.is_file():
        # The oldest folders have none; cosine normalises in any case.
        return [
            ("Transformer", _transformer(folder)),
            ("Pooling", folder / _POOLING_FOLDER),
        ]
    try:
        modules = json.loads(file.read_text(encoding="utf-8-sig"))
        found = [
            (str(module["type"]).rpartition(".")[2], str(module["path"]))
            for module in sorted(modules, key=lambda module: module["idx"])
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{file} must list modules with idx, type and path. Received: "
            f"{type(error).__name__}: {error}. Download it again."
        ) from error
    for _, path in found:
        parts = pathlib.PurePosixPath(path).parts
        if ".." in parts or path.startswith("/"):
            raise CheckpointError(
                f"{file} must name folders within its own. Received: {path!r}. "
                "Take the folder from its publisher."
            )
    return [(kind, folder / path) for kind, path in found]


def _transformer(folder: pathlib.Path) -> pathlib.Path:
    inner = folder / "0_Transformer"
    return inner if (inner / _CONFIG_NAME).is_file() else folder


def _pooling(file: pathlib.Path) -> str:
    config = read_json(file)
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if config.get(flag)]
    elif isinstance(modes, str):
        modes = [modes]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(
            f"The pooling must be one of {', '.join(_POOLINGS)}. Received: "
            f"{', '.join(map(str, modes)) or 'none'} in {file}. Choose another "
            "checkpoint."
        )
    return _POOLINGS[modes[0]]


def _dense(folder: pathlib.Path) -> DenseModule:
    config = read_json(folder / _CONFIG_NAME)
    activation = config.get("activation_function")
    inputs = {
        config.get(name) for name in ("module_input_name", "module_output_name")
    } - {None, "sentence_embedding"}
    if activation not in _ACTIVATIONS or inputs:
        raise CheckpointError(
            "A Dense module must turn the sentence embedding into another, "
            f"with an activation of {', '.join(_ACTIVATIONS)}. Received: "
            f"{activation}, {', '.join(map(str, inputs)) or 'an embedding'} in "
            f"{folder / _CONFIG_NAME}. Choose another checkpoint."
        )
    return DenseModule(folder, _ACTIVATIONS[activation], config["out_features"])


def _is_cosine(
    folder: pathlib.Path, settings: dict[str, Any], after: list[str]
) -> bool:
    name = settings.get("similarity_fn_name") or "cosine"
    if name not in ("cosine", "dot", "dot_score", "cos_sim"):
        raise CheckpointError(
            "`similarity_fn_name` must be cosine or dot. Received: "
            f"{name!r} in {folder / 'config_sentence_transformers.json'}. "
            "Choose another checkpoint."
        )
    return name in ("cosine", "cos_sim") or after[-1:] == ["Normalize"]


def _prompts(
    folder: pathlib.Path, settings: dict[str, Any], pooling: pathlib.Path
) -> tuple[str, str]:
    """The prompts of questions and of blocks."""
    prompts = settings.get("prompts") or {}
    default = prompts.get(settings.get("default_prompt_name"), "")
    both = [
        next((prompts[name] for name in names if prompts.get(name)), default)
        for names in (_QUERY_PROMPTS, _BLOCK_PROMPTS)
    ]
    includes = read_json(pooling / _CONFIG_NAME).get("include_prompt", True)
    if any(both) and not includes:
        raise CheckpointError(
            "`include_prompt` must be true: the states of prompts are pooled "
            f"with those of the text. Received: false in {pooling}, prompts "
            f"{sorted(prompts)} in {folder}. Choose another checkpoint."
        )
    return both[0], both[1]


def _check_case(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    config = read_json(folder / "tokenizer_config.json", default={})
    if settings.get("do_lower_case") and config.get("do_lower_case") is False:
        raise CheckpointError(
            "`do_lower_case` of sentence_bert_config.json must be false where "
            "the tokenizer keeps the case: accents would be lost with it. "
            f"Received: true in {folder}. Choose another checkpoint."
        )
