"""BERTs of the TensorFlow Model Garden, under the names of TF1.

Their checkpoints name a variable by the way to it from the model that was
saved: `encoder/layer_with_weights-4/_attention_layer/_query_dense/kernel`, or
`encoder/_transformer_layers/0/...` since `BertEncoderV2`.
"""

import math
import re
from collections.abc import Iterable

import numpy as np

from realm_tf.checkpoints.files.tensor_file import TensorFile

_END = "/.ATTRIBUTES/VARIABLE_VALUE"
_QUERY = re.compile(
    r"(.*?)(?:layer_with_weights-|_transformer_layers/)\d+"
    r"/_attention_layer/_query_dense/_?kernel" + _END
)
_NUM_EMBEDDERS = 4  # of words, positions, segments; and their layer norm
_NUMBERED = re.compile(r"layer_with_weights-(\d+)/(.*)")
_LISTED = re.compile(r"_transformer_layers/(\d+)/(.*)")
_LAYER = {
    "_attention_layer/_query_dense": "attention/self/query",
    "_attention_layer/_key_dense": "attention/self/key",
    "_attention_layer/_value_dense": "attention/self/value",
    "_attention_layer/_output_dense": "attention/output/dense",
    "_attention_output_dense": "attention/output/dense",
    "_attention_layer_norm": "attention/output/LayerNorm",
    "_intermediate_dense": "intermediate/dense",
    "_output_dense": "output/dense",
    "_output_layer_norm": "output/LayerNorm",
}
_WORDS = "bert/embeddings/word_embeddings"
_POOLER = "bert/pooler/dense"
_TABLES = (
    _WORDS,
    "bert/embeddings/position_embeddings",
    "bert/embeddings/token_type_embeddings",
)
_NORM = "bert/embeddings/LayerNorm"
_NAMED = {
    "_embedding_layer": _TABLES[0],
    "_word_embedding_layer": _TABLES[0],
    "_position_embedding_layer": _TABLES[1],
    "_type_embedding_layer": _TABLES[2],
    "_embedding_norm_layer": _NORM,
    "_pooler_layer": _POOLER,
}
_HEAD = re.compile(r"(?:^|.*/)masked_lm/(.*)")
_HEAD_NAMES = {
    # The shortest way to the table of words, where there is such a head.
    "embedding_table": _WORDS,
    "bias": "cls/predictions/output_bias",
    "dense/kernel": "cls/predictions/transform/dense/kernel",
    "dense/bias": "cls/predictions/transform/dense/bias",
    "layer_norm/gamma": "cls/predictions/transform/LayerNorm/gamma",
    "layer_norm/beta": "cls/predictions/transform/LayerNorm/beta",
}


class ModelGardenFile(TensorFile):
    """A checkpoint of the Model Garden as one of TF1.

    What has no name in TF1 keeps its own, without `/.ATTRIBUTES/...`.

    Args:
        file: `TensorFile`.

    Attributes:
        num_heads: attention heads, as the shapes tell.

    Raises:
        CheckpointError: if two variables would have one name.
    """

    def __init__(self, file: TensorFile):
        super().__init__(file.path)
        self._file = file
        match = next(filter(None, map(_QUERY.match, file.shapes)))
        self._backbone = match[1]
        layers = {
            int(found[1])
            for name in file.shapes
            if (found := _NUMBERED.match(name.removeprefix(self._backbone)))
            and found[2].startswith("_attention_layer/")
        }
        self._after = max(layers, default=0) + 1
        self.num_heads = file.shapes[match[0]][1]
        self._old: dict[str, str] = {}
        for old, shape in file.shapes.items():
            new = self._tf1_name(old.removesuffix(_END))
            if new in self._old:
                raise self.damaged(f"{old} and {self._old[new]}, both {new}")
            self._old[new] = old
            self.shapes[new] = _flat(new, shape)

    def read(self, name: str) -> np.ndarray:
        return self._file.read(self._old[name]).reshape(self.shapes[name])

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return self.read(name)[start:stop]

    def _tf1_name(self, name: str) -> str:
        if head := _HEAD.match(name):
            return _HEAD_NAMES.get(head[1], name)
        if not name.startswith(self._backbone) or "/.OPTIMIZER_SLOT/" in name:
            return name
        inner = name.removeprefix(self._backbone)
        if listed := _LISTED.match(inner):
            layer = f"bert/encoder/layer_{listed[1]}/"
            return _joined(_LAYER, listed[2], layer) or name
        if numbered := _NUMBERED.match(inner):
            return self._numbered(int(numbered[1]), numbered[2]) or name
        return _joined(_NAMED, inner) or name

    def _numbered(self, number: int, inner: str) -> str:
        """Name of a variable of the layer with this number; "" if it has none.

        Layers count from the embedding tables; the last one is the pooler.
        """
        if number < len(_TABLES):
            return _joined({"": _TABLES[number]}, f"/{inner}")
        if number < _NUM_EMBEDDERS:
            return _joined({"": _NORM}, f"/{inner}")
        if number < self._after:
            layer = f"bert/encoder/layer_{number - _NUM_EMBEDDERS}/"
            return _joined(_LAYER, inner, layer)
        is_pooler = number == self._after
        return _joined({"": _POOLER}, f"/{inner}") if is_pooler else ""


def is_model_garden(names: Iterable[str]) -> bool:
    """Whether a checkpoint with these variables is a BERT of Model Garden."""
    return any(map(_QUERY.match, names))


def _joined(owners: dict[str, str], inner: str, before: str = "") -> str:
    """TF1 name of a variable of one of the owners; "" if it is of none."""
    owner, _, last = inner.rpartition("/")
    last = last.removeprefix("_")
    if owner not in owners:
        return ""
    if last == "embeddings":
        return before + owners[owner]
    return f"{before}{owners[owner]}/{last}"


def _flat(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the axis of attention heads."""
    if "/attention/self/" in name:
        kept = 1 if name.endswith("/kernel") else 0
        return (*shape[:kept], math.prod(shape[kept:]))
    if name.endswith("/attention/output/dense/kernel"):
        return (math.prod(shape[:-1]), *shape[-1:])
    return shape
