"""EmbeddingModule: texts to embeddings, in Python and when served."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from realm_tf.engine.checked_inputs import checked
from realm_tf.engine.inference_backbone import inference_backbone
from realm_tf.engine.packed_backbone import PackedTokens
from realm_tf.engine.token_budget import default_token_budget, in_groups
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.embedder import Embedder


class EmbeddingModule(tf.Module):
    """An `Embedder` that takes texts.

    Signature serving_default: `names`, each string `(batch,)`, to `embedding`
    float32 `(batch, embedding_dim)`. Signature embed: the same, and
    `fingerprint` string `(batch,)` and, if `featurize` returns it, `truncated`
    bool `(batch,)`.

    Args:
        embedder: `Embedder`.
        featurize: strings `(batch,)`, one tensor for each name, to features;
            see `Featurizer.cut_questions` and `Featurizer.blocks`.
        names: of the inputs.
        fingerprint: of the embedder that the index belongs to.
        jit_compile: compile the backbone with XLA.
        token_budget: see `in_groups`. Defaults to what this machine is good
            at.
    """

    def __init__(
        self,
        embedder: Embedder,
        featurize: Callable[..., dict[str, tf.Tensor]],
        names: tuple[str, ...],
        *,
        fingerprint: str = "",
        jit_compile: bool = False,
        token_budget: int | None = None,
    ):
        super().__init__()
        self._weights = tuple(weight.value for weight in embedder.weights)
        self._embedder = embedder
        self._backbone = inference_backbone(embedder.backbone, jit_compile)
        self._featurize = featurize
        self._names = names
        self._fingerprint = fingerprint
        self._token_budget = token_budget or default_token_budget()
        text = tf.TensorSpec([None], tf.string)
        self._embed_texts = tf.function(
            self.embed, [text] * len(names), autograph=False
        )
        spec = tf.TensorSpec([None, None], tf.int32)
        self._embed_features = tf.function(
            self._embed_padded,
            [{name: spec for name in FEATURES}],
            autograph=False,
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

    def texts(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """`embed`, compiled, with the current weights."""
        self._backbone.refresh()
        return self._embed_texts(*texts)

    def features(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Embeddings of padded features, with the current weights."""
        self._backbone.refresh()
        return self._embed_features({name: features[name] for name in FEATURES})

    def embed(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """`embedding` and perhaps `truncated`, within a graph."""
        features = self._featurize(*texts)
        outputs = {"embedding": self._embed_padded(features)}
        if "truncated" in features:
            outputs["truncated"] = features["truncated"]
        return outputs

    def _serve(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self.embed(*self._checked(texts))
        return {"embedding": outputs["embedding"]}

    def _serve_more(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self._checked(texts)
        fingerprints = tf.fill(tf.shape(rows[0]), self._fingerprint)
        return self.embed(*rows) | {"fingerprint": fingerprints}

    def _checked(self, texts: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
        ranks = [(text, 1) for text in texts]
        return checked(**dict(zip(self._names, ranks, strict=True)))

    def _embed_padded(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        def embed_some(rows: tf.Tensor) -> dict[str, tf.Tensor]:
            some = {name: tf.gather(features[name], rows) for name in FEATURES}
            return {"embedding": self._embed_packed(PackedTokens.of(some))}

        width = self._embedder.embedding_dim
        return in_groups(
            tf.reduce_sum(features["padding_mask"], axis=1),
            embed_some,
            {"embedding": tf.TensorSpec([None, width], tf.float32)},
            token_budget=self._token_budget,
        )["embedding"]

    def _embed_packed(self, tokens: PackedTokens) -> tf.Tensor:
        states = self._backbone(tokens)
        embedder = self._embedder
        if embedder.pooling == "mean":
            sums = tf.math.segment_sum(states, tokens.rows)
            pooled = embedder.pool_sums(sums, tokens.lengths)
        else:
            first = tf.cumsum(tokens.lengths, exclusive=True)
            pooled = tf.gather(states, first)
            if embedder.pooling == "cls":
                pooled = embedder.backbone.pooled_dense(pooled)
            else:
                ones = tf.ones_like(tokens.lengths)
                pooled = embedder.pool_sums(pooled, ones)
        pooled = tf.ensure_shape(pooled, [None, states.shape[-1]])
        return embedder.project(pooled)
