"""EmbeddingModule: texts to embeddings, as it is served."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from realm_tf.engine.rows import checked, each_row, trimmed_length
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.embedder import Embedder

_BUCKET = 16  # wordpieces, as in `realm_tf.engine.text_embedder`


class EmbeddingModule(tf.Module):
    """An `Embedder` with the text's way into it, row by row.

    Signature serving_default: `names`, each string `(batch,)`, to `embedding`
    float32 `(batch, embedding_dim)`. Signature embed: the same, and
    `fingerprint` string `(batch,)` and, with `is_truncated`, `truncated` bool
    `(batch,)`.

    Args:
        embedder: `Embedder`.
        featurize: strings `(batch,)`, one tensor for each name, to features.
        names: of the inputs.
        fingerprint: of the embedder that the index belongs to.
        is_truncated: the first input to bool `(batch,)`.
        jit_compile: compile the layer with XLA.
    """

    def __init__(
        self,
        embedder: Embedder,
        featurize: Callable[..., dict[str, tf.Tensor]],
        names: tuple[str, ...],
        *,
        fingerprint: str,
        is_truncated: Callable[[tf.Tensor], tf.Tensor] | None = None,
        jit_compile: bool = False,
    ):
        super().__init__()
        self._weights = tuple(weight.value for weight in embedder.weights)
        self._featurize = featurize
        self._names = names
        self._fingerprint = fingerprint
        self._is_truncated = is_truncated
        self._embedding = tf.TensorSpec([embedder.embedding_dim], tf.float32)
        spec = tf.TensorSpec([1, None], tf.int32)
        self._layer = tf.function(
            lambda features: embedder(features, training=False),
            input_signature=[{name: spec for name in FEATURES}],
            autograph=False,
            jit_compile=jit_compile or None,
        )
        text = tf.TensorSpec([None], tf.string)
        self.embed = tf.function(
            self._embed, [text] * len(names), autograph=False
        )

    @property
    def signatures(self) -> dict[str, Any]:
        """Name -> function, for `tf.saved_model.save`."""
        specs = [
            tf.TensorSpec([None], tf.string, name=name) for name in self._names
        ]
        functions = {"serving_default": self._serve, "embed": self._serve_more}
        return {
            name: tf.function(function, autograph=False).get_concrete_function(
                *specs
            )
            for name, function in functions.items()
        }

    def _serve(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self._checked(texts)
        return {"embedding": self.embed(*rows)}

    def _serve_more(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self._checked(texts)
        outputs = {
            "embedding": self.embed(*rows),
            "fingerprint": tf.fill(tf.shape(rows[0]), self._fingerprint),
        }
        if self._is_truncated is not None:
            outputs["truncated"] = self._is_truncated(rows[0])
        return outputs

    def _checked(self, texts: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
        inputs = zip(self._names, texts, strict=True)
        return checked(**{name: (text, 1) for name, text in inputs})

    def _embed(self, *texts: tf.Tensor) -> tf.Tensor:
        features = self._featurize(*texts)
        rows = [features[name] for name in FEATURES]
        return each_row(self._embed_row, rows, self._embedding)

    def _embed_row(self, *row: tf.Tensor) -> tf.Tensor:
        features = dict(zip(FEATURES, row, strict=True))
        length = trimmed_length(features["padding_mask"][None], _BUCKET)
        return self._layer(
            {name: value[None, :length] for name, value in features.items()}
        )[0]
