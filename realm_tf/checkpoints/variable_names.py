"""The names of variables: ours, those of TF1 and those of Hugging Face.

A part is one of our layers with its backbone. Its variables are listed by their
Keras paths, without the name of the layer; every other name follows from that.
"""

import re
from typing import NamedTuple

import numpy as np

TF1 = "tf1"
HUGGING_FACE = "hugging_face"

EMBEDDER = "embedder"
ENCODER = "encoder"
READER = "reader"

_WEIGHT_AND_BIAS = ("kernel", "bias")
_NORM = ("gamma", "beta")
_TRUNK = {
    "token_embedding/embeddings": "bert/embeddings/word_embeddings",
    "position_embedding/embeddings": "bert/embeddings/position_embeddings",
    "segment_embedding/embeddings": "bert/embeddings/token_type_embeddings",
}
# Ours -> TF1, each with two variables.
_TRUNK_PAIRS = {
    "embeddings_layer_norm": ("bert/embeddings/LayerNorm", _NORM),
    "pooled_dense": ("bert/pooler/dense", _WEIGHT_AND_BIAS),
}
_LAYER_PAIRS = {
    "self_attention_layer/query": ("attention/self/query", _WEIGHT_AND_BIAS),
    "self_attention_layer/key": ("attention/self/key", _WEIGHT_AND_BIAS),
    "self_attention_layer/value": ("attention/self/value", _WEIGHT_AND_BIAS),
    "self_attention_layer/attention_output": (
        "attention/output/dense",
        _WEIGHT_AND_BIAS,
    ),
    "self_attention_layer_norm": ("attention/output/LayerNorm", _NORM),
    "feedforward_intermediate_dense": ("intermediate/dense", _WEIGHT_AND_BIAS),
    "feedforward_output_dense": ("output/dense", _WEIGHT_AND_BIAS),
    "feedforward_layer_norm": ("output/LayerNorm", _NORM),
}
_HEAD_PAIRS = {
    EMBEDDER: {
        "projection": ("dense", _WEIGHT_AND_BIAS),
        "layer_norm": ("LayerNorm", _NORM),
    },
    ENCODER: {
        "masked_lm_head/intermediate_dense": (
            "cls/predictions/transform/dense",
            _WEIGHT_AND_BIAS,
        ),
        "masked_lm_head/intermediate_layer_norm": (
            "cls/predictions/transform/LayerNorm",
            _NORM,
        ),
    },
    READER: {
        "start_end_dense": ("dense", _WEIGHT_AND_BIAS),
        "score_dense": ("dense_1", _WEIGHT_AND_BIAS),
        "span_layer_norm": ("layer_normalization", _NORM),
    },
}
_HEAD = {ENCODER: {"masked_lm_head/output_bias": "cls/predictions/output_bias"}}
# Where Hugging Face has another name than TF1, beside the rules.
_HUGGING_FACE_HEAD = {
    READER: {
        "dense/": "qa_outputs/dense_intermediate/",
        "dense_1/": "qa_outputs/dense_output/",
        "layer_normalization/": "qa_outputs/layer_normalization/",
    },
    EMBEDDER: {"dense/": "cls/dense/", "LayerNorm/": "cls/LayerNorm/"},
}
POOLER = ("pooled_dense/kernel", "pooled_dense/bias")


class PartNames(NamedTuple):
    """How a checkpoint names the variables of one part.

    Args:
        kind: `EMBEDDER`, `ENCODER` or `READER`.
        style: `TF1` or `HUGGING_FACE`.
        backbone: what is before the names of the backbone.
        head: what is before the names of the head.
        norm: name of the embedder's layer norm in TF1. It tells its epsilon:
            "LayerNorm" was made by `contrib.layers`, "layer_normalization" by
            Keras.

    Example:
    >>> names = PartNames(READER, HUGGING_FACE, "reader.realm.", "reader.")
    >>> names.of("start_end_dense/kernel")
    'reader.qa_outputs.dense_intermediate.weight'
    """

    kind: str
    style: str
    backbone: str = ""
    head: str = ""
    norm: str = "LayerNorm"

    def of(self, path: str) -> str:
        """Name of the variable that has this Keras path."""
        tf1 = tf1_name(self.kind, path)
        in_backbone = tf1.startswith("bert/")
        prefix = self.backbone if in_backbone else self.head
        if self.style == TF1:
            if not in_backbone and path.startswith("layer_norm/"):
                tf1 = tf1.replace("LayerNorm", self.norm)
            return prefix + tf1
        return prefix + _hugging_face_name(self.kind, tf1)

    def to_source(self, path: str, value: np.ndarray) -> np.ndarray:
        """Our value in the shape and order of the checkpoint."""
        flat = value.reshape(source_shape(path, value.shape))
        return flat.T if self._is_transposed(path) else flat

    def from_source(
        self, path: str, value: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """A value of the checkpoint in our shape and order."""
        value = np.asarray(value, np.float32)
        return (value.T if self._is_transposed(path) else value).reshape(shape)

    def shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape that the checkpoint must have for our shape."""
        flat = source_shape(path, shape)
        return flat[::-1] if self._is_transposed(path) else flat

    def _is_transposed(self, path: str) -> bool:
        return self.style == HUGGING_FACE and path.endswith("/kernel")


def part_paths(kind: str, num_layers: int) -> list[str]:
    """Keras paths of all variables of a part."""
    return [
        *_TRUNK,
        *_pairs(_TRUNK_PAIRS),
        *(
            f"transformer_layer_{i}/{path}"
            for i in range(num_layers)
            for path in _pairs(_LAYER_PAIRS)
        ),
        *head_paths(kind),
    ]


def head_paths(kind: str) -> list[str]:
    """Keras paths of the variables that a part has beside its backbone."""
    return [*_pairs(_HEAD_PAIRS[kind]), *_HEAD.get(kind, ())]


def tf1_name(kind: str, path: str) -> str:
    """Name of a variable in TF1, without prefix.

    Example:
    >>> tf1_name(ENCODER, "transformer_layer_3/feedforward_layer_norm/beta")
    'bert/encoder/layer_3/output/LayerNorm/beta'
    """
    whole = {**_TRUNK, **_HEAD.get(kind, {})}
    if path in whole:
        return whole[path]
    owner, _, last = path.rpartition("/")
    layer = re.fullmatch(r"transformer_layer_(\d+)/(.*)", owner)
    if layer:
        name = f"bert/encoder/layer_{layer[1]}/{_LAYER_PAIRS[layer[2]][0]}"
    else:
        name = {**_TRUNK_PAIRS, **_HEAD_PAIRS[kind]}[owner][0]
    return f"{name}/{last}"


def keras_path(variable_path: str, layer_name: str) -> str:
    """Path of a variable within its part."""
    return variable_path.removeprefix(f"{layer_name}/")


def source_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Our shape without the axis of attention heads."""
    if "self_attention_layer/" not in path:
        return shape
    if path.endswith("attention_output/kernel"):  # (heads, size, hidden)
        return (shape[0] * shape[1], shape[2])
    if len(shape) == 3:  # (hidden, heads, size)
        return (shape[0], shape[1] * shape[2])
    if path.endswith("attention_output/bias"):
        return shape
    return (shape[0] * shape[1],)  # (heads, size)


def _pairs(table: dict[str, tuple[str, tuple[str, str]]]) -> list[str]:
    return [
        f"{owner}/{last}" for owner, (_, both) in table.items() for last in both
    ]


def _hugging_face_name(kind: str, tf1: str) -> str:
    name = tf1.removeprefix("bert/")
    if name == tf1:
        for old, new in _HUGGING_FACE_HEAD.get(kind, {}).items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
    name = re.sub(r"layer_(\d+)/", r"layer/\1/", name)
    name = re.sub(
        r"(word|position|token_type)_embeddings$", r"\g<0>/weight", name
    )
    name = re.sub(r"/(kernel|gamma)$", "/weight", name)
    name = re.sub(r"/(beta|output_bias)$", "/bias", name)
    return name.replace("/", ".")
