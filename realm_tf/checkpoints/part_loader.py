"""Parts filled with the variables of a checkpoint, each used once."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
import keras_hub

from realm_tf.checkpoints import presets
from realm_tf.checkpoints.files.tensor_file import TensorFile
from realm_tf.checkpoints.variable_names import (
    EMBEDDER,
    ENCODER,
    POOLER,
    READER,
    PartNames,
    head_paths,
    keras_path,
    part_paths,
)
from realm_tf.checkpoints.weight_check import (
    check_floats,
    check_size,
    check_weights,
)
from realm_tf.errors import CheckpointError
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.span_reader import SpanReader

_MAX_LISTED = 20
_HEAD_SIZE = 64  # of the attention heads of every published BERT
_CLASSES: dict[str, Any] = {
    EMBEDDER: Embedder,
    ENCODER: KnowledgeAugmentedEncoder,
    READER: SpanReader,
}


class PartLoader:
    """Fills parts from one checkpoint and records the use of variables.

    Args:
        file: `TensorFile`.
        num_heads: attention heads of the backbones, which no shape tells. By
            default one for each 64 of the width, as in every published BERT.
        dropout: rate in training.
        dtype: dtype policy of the backbones; defaults to Keras' global policy.
        partial: take what is there. What is missing is as a new model has
            it, and what is left over is skipped.

    Attributes:
        used: names of the variables that were used.
        skipped: name -> why a variable was skipped.
        initial: our variables that the checkpoint does not have, and that
            are as a new model has them.
    """

    def __init__(
        self,
        file: TensorFile,
        *,
        num_heads: int | None = None,
        dropout: float = 0.1,
        dtype: Any = None,
        partial: bool = False,
    ):
        self.file = file
        self.used: list[str] = []
        self.skipped: dict[str, str] = {}
        self.initial: list[str] = []
        self._num_stored = sum(map(math.prod, file.shapes.values()))
        self._num_heads = num_heads
        self._dropout = dropout
        self._dtype = dtype
        self._partial = partial

    def skip(self, why: str, is_skipped: Callable[[str], bool]) -> None:
        """Leaves variables out that nothing has used."""
        for name in self._left():
            if is_skipped(name):
                self.skipped[name] = why

    def load(
        self,
        names: PartNames,
        *,
        new_head: bool = False,
        aliases: dict[str, str] | None = None,
        **settings: Any,
    ) -> Any:
        """Builds a part and fills it.

        Args:
            names: how the checkpoint names it.
            new_head: the checkpoint has the backbone only.
            aliases: other names that a variable may have in its place.
            **settings: of the layer.

        Raises:
            CheckpointError: listing what is missing, and what is left over.
        """
        paths = part_paths(names.kind, self._num_layers(names))
        if new_head:
            paths = [p for p in paths if p not in head_paths(names.kind)]
        sources = {path: names.of(path) for path in paths}
        for path, name in sources.items():
            if name not in self.file.shapes and aliases:
                sources[path] = aliases.get(path, name)
        shapes = self.file.shapes
        is_optional = names.kind != EMBEDDER or new_head
        optional = POOLER if is_optional else ()
        missing = [
            name
            for path, name in sources.items()
            if name not in shapes and path not in optional
        ]
        if missing and not self._partial:
            raise self._leftover(missing, self._left(without=sources.values()))
        layer = self._build(names, new_head, settings)
        self._fill(layer, names, sources)
        return layer

    def load_backbone(self, names: PartNames) -> keras.Model:
        """A backbone alone, filled; one without a pooler gets a new one.

        Args:
            names: how the checkpoint names it.

        Raises:
            CheckpointError: listing what is missing.
        """
        paths = part_paths(names.kind, self._num_layers(names))
        paths = [p for p in paths if p not in head_paths(names.kind)]
        sources = {path: names.of(path) for path in paths}
        missing = [
            name
            for path, name in sources.items()
            if name not in self.file.shapes and path not in POOLER
        ]
        if missing:
            raise self._leftover(missing, [])
        backbone = self._new_backbone(names)
        self._fill(backbone, names, sources)
        return backbone

    def load_start(self, names: PartNames) -> dict[str, Any]:
        """Embedder and reader that start from the backbone of any BERT.

        Args:
            names: how the checkpoint names the backbone.

        Returns:
            dict of parts with new heads, by their names in `Parts`.
        """
        embedder = self.load(
            names._replace(kind=EMBEDDER), new_head=True, name="query_embedder"
        )
        reader = self.load(
            names._replace(kind=READER), new_head=True, name="reader"
        )
        return {
            "query_embedder": embedder,
            "block_embedder": embedder,
            "reader": reader,
        }

    def finish(self) -> None:
        """Checks that every variable was used or skipped.

        Raises:
            CheckpointError: listing those that were not.
        """
        left = self._left()
        if left and not self._partial:
            raise self._leftover([], left)
        self.skipped |= dict.fromkeys(left, "left over")

    def _num_layers(self, names: PartNames) -> int:
        """Layers of the backbone: one more than the highest number."""
        first = names.of("transformer_layer_0/feedforward_layer_norm/beta")
        before = re.split(r"(?<=layer[._])0", first)[0]
        found = re.compile(re.escape(before) + r"(\d+)[./]")
        matches = filter(None, map(found.match, self.file.shapes))
        number = 1 + max((int(match[1]) for match in matches), default=-1)
        if number > len(self.file.shapes):
            raise self.file.damaged(
                f"{len(self.file.shapes)} variables, one of layer {number - 1}"
            )
        return number

    def _build(
        self, names: PartNames, new_head: bool, settings: dict[str, Any]
    ) -> Any:
        backbone = self._new_backbone(names)
        if names.kind != ENCODER:
            settings = {"dropout": self._dropout, **settings}
        if names.kind == READER:
            del settings["dropout"]
            if not new_head:
                size = self._size(names, "span_layer_norm/gamma")
                settings["span_hidden_dim"] = size
        elif names.kind == EMBEDDER and not new_head:
            settings["embedding_dim"] = self._size(names, "projection/bias")
        layer = _CLASSES[names.kind](backbone, **settings)
        presets.build(layer)
        return layer

    def _new_backbone(self, names: PartNames) -> keras.Model:
        table = "token_embedding/embeddings"
        hidden_dim = self._size(names, "embeddings_layer_norm/gamma")
        num_heads = self._num_heads or hidden_dim // _HEAD_SIZE
        if num_heads < 1 or hidden_dim % num_heads:
            raise CheckpointError(
                "`num_heads` must be given where the width of a backbone is no "
                f"multiple of {_HEAD_SIZE} times it. Received: width "
                f"{hidden_dim}, num_heads={self._num_heads}, {self.file.path}. "
                "Pass `num_heads`, or `--num-heads`."
            )
        sizes = {
            "vocabulary_size": self._size(names, table, rank=2),
            "num_layers": self._num_layers(names),
            "hidden_dim": hidden_dim,
            "intermediate_dim": self._size(
                names, "transformer_layer_0/feedforward_intermediate_dense/bias"
            ),
            "max_sequence_length": self._size(
                names, "position_embedding/embeddings", rank=2
            ),
            "num_segments": self._size(
                names, "segment_embedding/embeddings", rank=2
            ),
        }
        check_size(sizes, self._num_stored, self.file.path)
        return keras_hub.models.BertBackbone(
            **sizes,
            num_heads=num_heads,
            dropout=self._dropout,
            dtype=self._dtype or keras.config.dtype_policy(),
        )

    def _size(self, names: PartNames, path: str, rank: int = 1) -> int:
        """Length of the first axis of a variable."""
        name = names.of(path)
        if name not in self.file.shapes:  # with `partial`
            raise self.file.damaged(f"no {name}, which tells a size")
        shape = self.file.shapes[name]
        if len(shape) != rank or not all(shape):
            raise self.file.damaged(f"{name} of shape {shape}")
        return shape[0]

    def _fill(
        self, layer: Any, names: PartNames, sources: dict[str, str]
    ) -> None:
        wrong = []
        for variable in layer.weights:
            path = keras_path(variable.path, layer.name)
            name = sources.get(path)
            if name not in self.file.shapes:
                self.initial.append(f"{layer.name}/{path}")
                continue
            expected = names.shape(path, tuple(variable.shape))
            if self.file.shapes[name] != expected:
                found = self.file.shapes[name]
                wrong.append(f"{name}: expected {expected}, found {found}")
        if wrong:
            raise CheckpointError(
                f"Variables of {self.file.path} must have the shapes that the "
                f"others imply. Received: {_listed(wrong)}. Take all from one "
                "checkpoint."
            )
        for variable in layer.weights:
            path = keras_path(variable.path, layer.name)
            name = sources.get(path)
            if name is None or name not in self.file.shapes:
                continue
            value = self.file.read(name)
            check_floats(name, value, self.file.path)
            check_weights([(name, value)], self.file.path)
            variable.assign(
                names.from_source(path, value, tuple(variable.shape))
            )
            self.used.append(name)

    def _left(self, without: Iterable[str] = ()) -> list[str]:
        gone = {*self.used, *self.skipped, *without}
        return [name for name in self.file.shapes if name not in gone]

    def _leftover(self, missing: list[str], left: list[str]) -> CheckpointError:
        return CheckpointError(
            f"Every variable of {self.file.path} must be used exactly once. "
            f"Missing: {_listed(missing)}. Left over: {_listed(left)}. Take a "
            "published checkpoint, or rename its variables."
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_LISTED
    text = ", ".join(sorted(names)[:_MAX_LISTED]) or "none"
    return f"{text}, and {more} more" if more > 0 else text
