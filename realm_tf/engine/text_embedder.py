"""Texts to embeddings in batches, with little padding and few shapes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.official.official_featurizer import OfficialFeaturizer
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

BATCH_SIZE = 64  # texts; larger ones are no faster on a processor
_CHUNK = 64 * BATCH_SIZE  # texts that are sorted by length together
_BUCKET = 16  # wordpieces; padded lengths are multiples of it
_JOINT_BUCKET = 32


def _require_tensorflow() -> None:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "Texts are embedded with Keras on TensorFlow; layers and losses "
            f"alone run on others. Received: KERAS_BACKEND={backend}. Unset "
            "KERAS_BACKEND before Python starts, or set it to tensorflow."
        )


def trim(features: dict[str, Any], bucket: int = _BUCKET) -> dict[str, Any]:
    """Cuts padding that every row of a batch has.

    Args:
        features: dict of int arrays `(..., length)`, `padding_mask` among
            those whose name ends so.
        bucket: the new length is a multiple of it, so that shapes stay few.
    """
    mask = next(v for k, v in features.items() if k.endswith("padding_mask"))
    mask = np.asarray(mask)
    used = int(mask.sum(axis=-1).max(initial=1))
    length = min(-(-used // bucket) * bucket, mask.shape[-1])
    return {name: value[..., :length] for name, value in features.items()}


def trim_joint(features: dict[str, Any], max_span_width: int) -> dict[str, Any]:
    """`trim` for joint inputs.

    Args:
        features: see `trim`.
        max_span_width: of the reader, which takes nothing shorter.
    """
    return trim(features, max(_JOINT_BUCKET, max_span_width))


class TextEmbedder:
    """Embeds questions and blocks with one `Embedder`.

    A text has the same embedding, up to rounding, whatever is embedded with
    it.

    Args:
        embedder: `Embedder`.
        featurizer: `Featurizer`; an `OfficialFeaturizer` for questions only.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow.
    """

    def __init__(
        self, embedder: Embedder, featurizer: Featurizer | OfficialFeaturizer
    ):
        _require_tensorflow()
        self.embedder = embedder
        self.featurizer: Any = featurizer
        spec = tf.TensorSpec([None, None], tf.int32)
        self._embed = tf.function(
            lambda features: embedder(features, training=False),
            input_signature=[{name: spec for name in FEATURES}],
            autograph=False,
        )

    def questions(self, questions: Sequence[str]) -> np.ndarray:
        """Float32 embeddings `(len(questions), embedding_dim)`."""
        return self._sorted(
            questions, [len(q) for q in questions], self.featurizer.questions
        )

    def questions_one_by_one(self, questions: Sequence[str]) -> np.ndarray:
        """As `questions`, but the same to the last bit alone or together."""
        rows = [self.questions([question]) for question in questions]
        return np.concatenate([self.questions([]), *rows])

    def blocks(self, blocks: Sequence[Block]) -> np.ndarray:
        """Float32 embeddings `(len(blocks), embedding_dim)`."""

        def featurize(part: Sequence[Block]) -> dict[str, Any]:
            return self.featurizer.blocks(
                [block.title for block in part], [block.text for block in part]
            )

        lengths = [len(block.title) + len(block.text) for block in blocks]
        return self._sorted(blocks, lengths, featurize)

    def features(self, features: dict[str, Any]) -> np.ndarray:
        """Float32 embeddings `(n, embedding_dim)` of rows that are packed."""
        return self._embed({name: features[name] for name in FEATURES}).numpy()

    def corpus(self, corpus: Any) -> Iterator[np.ndarray]:
        """Embeddings of all blocks of a `Corpus`, in order, in chunks."""
        for start in range(0, corpus.num_blocks, _CHUNK):
            end = min(start + _CHUNK, corpus.num_blocks)
            yield self.blocks(corpus.blocks(range(start, end)))

    def _sorted(
        self,
        items: Sequence[Any],
        lengths: Sequence[int],
        featurize: Callable[[Sequence[Any]], dict[str, Any]],
    ) -> np.ndarray:
        out = np.zeros((len(items), self.embedder.embedding_dim), np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), BATCH_SIZE):
            places = order[start : start + BATCH_SIZE]
            features = featurize([items[i] for i in places])
            out[places] = self._embed(trim(features)).numpy()
        return out


def embedder_fingerprint(embedder: Embedder, featurizer: Featurizer) -> str:
    """SHA-256 of all that decides the embedding of a block.

    Args:
        embedder: `Embedder` of blocks.
        featurizer: `Featurizer` that cuts them.
    """
    description = [
        embedder.pooling,
        embedder.layer_norm_epsilon,
        embedder.backbone.num_heads,
        featurizer.fingerprint,
        featurizer.block_length,
    ]
    return _fingerprint(description, embedder)


def reader_fingerprint(reader: SpanReader, featurizer: Featurizer) -> str:
    """SHA-256 of all that decides what is read in a block.

    Args:
        reader: `SpanReader`.
        featurizer: `Featurizer` that joins question and block.
    """
    description = [
        reader.max_span_width,
        reader.layer_norm_epsilon,
        reader.backbone.num_heads,
        featurizer.fingerprint,
        featurizer.query_length,
        featurizer.joint_length,
        featurizer.joint_title,
    ]
    return _fingerprint(description, reader)


def _fingerprint(description: list[Any], layer: keras.layers.Layer) -> str:
    digest = hashlib.sha256(json.dumps(description).encode())
    # Not `variables`: those of dropout's random numbers decide nothing.
    for variable in layer.weights:
        value = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        digest.update(json.dumps(value.shape).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
