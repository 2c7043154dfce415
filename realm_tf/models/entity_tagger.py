"""EntityTagger: names in sentences, found by a trained backbone."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from realm_tf._manifest import read_manifest, write_folder
from realm_tf.checkpoints.files.npz_file import read_npz
from realm_tf.checkpoints.weight_check import check_layer, check_size
from realm_tf.data.spans.entities import decode_labels, rows
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.span_tagger import SpanTagger
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import pack_singles, trim
from realm_tf.errors import FolderError
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.token_classifier import TokenClassifier

KIND = "tagger"
_CONFIG_NAME = "config.json"
_VOCABULARY_NAME = "vocabulary.txt"
_WEIGHTS_NAME = "weights.npz"
_BATCH_SIZE = 64
_MAX_LENGTH = 128  # wordpieces; what comes later is not tagged


class EntityTagger(SpanTagger):
    """Tags people, places, organisations and other names.

    Train one with `realm-tf train-tagger` or `train_tagger`.

    Args:
        classifier: `TokenClassifier`, with a label for each of `labels`.
        featurizer: `Featurizer`.
        labels: see `label_names`.
    """

    def __init__(
        self,
        classifier: TokenClassifier,
        featurizer: Featurizer,
        labels: Sequence[str],
    ):
        if not classifier.built:
            classifier.build(None)
        self.classifier = classifier
        self.featurizer = featurizer
        self.labels = list(labels)
        longest = classifier.backbone.max_sequence_length
        self.max_length = min(_MAX_LENGTH, longest)
        spec = tf.TensorSpec([None, None], tf.int32)
        self._choose = tf.function(
            lambda features: tf.argmax(
                classifier(features, training=False), axis=-1
            ),
            input_signature=[{name: spec for name in FEATURES}],
            autograph=False,
        )

    def tag(self, sentences: Sequence[str]) -> list[list[SalientSpan]]:
        if not sentences:
            return []
        wordpieces = rows(self.featurizer.tokenize(sentences))
        found: list[list[SalientSpan]] = [[] for _ in sentences]
        order = np.argsort([len(ids) for ids, _, _ in wordpieces])
        for start in range(0, len(order), _BATCH_SIZE):
            places = order[start : start + _BATCH_SIZE]
            features = pack_singles(
                [wordpieces[i][0] for i in places],
                self.max_length,
                self.featurizer,
            )
            chosen = self._choose(trim(features)).numpy()
            for i, row in zip(places, chosen, strict=True):
                ids, starts, ends = wordpieces[i]
                count = min(len(ids), self.max_length - 2)
                found[i] = decode_labels(
                    self.labels,
                    row[1 : count + 1],
                    (ids[:count], starts[:count], ends[:count]),
                    self.featurizer,
                )
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a tagger folder.

        Raises:
            FolderError: if `path` exists.
        """
        backbone = self.classifier.backbone.get_config()
        del backbone["dtype"]
        config = {
            "labels": self.labels,
            "featurizer": self.featurizer.get_config(),
            "backbone": backbone,
        }
        weights = self.classifier.get_weights()
        with write_folder(path, KIND) as writer:
            words = "\n".join(self.featurizer.vocabulary) + "\n"
            (writer.path / _VOCABULARY_NAME).write_text(words, "utf-8")
            (writer.path / _CONFIG_NAME).write_text(json.dumps(config), "utf-8")
            np.savez(
                writer.path / _WEIGHTS_NAME,
                **{f"{i}": weight for i, weight in enumerate(weights)},
            )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, dtype: Any = None
    ) -> "EntityTagger":
        """Reads a tagger folder.

        Args:
            path: the folder.
            dtype: dtype policy; defaults to Keras' global one.

        Raises:
            FolderError: if the folder is no tagger, or damaged.
        """
        path = pathlib.Path(path)
        read_manifest(path, KIND)
        try:
            config = json.loads((path / _CONFIG_NAME).read_text("utf-8"))
            featurizer = Featurizer.from_file(
                path / _VOCABULARY_NAME, **config["featurizer"]
            )
            weights_path = path / _WEIGHTS_NAME
            check_size(
                config["backbone"], weights_path.stat().st_size, weights_path
            )
            backbone = keras_hub.models.BertBackbone(
                **config["backbone"],
                dtype=dtype or keras.config.dtype_policy(),
            )
            labels = config["labels"]
            tagger = cls(
                TokenClassifier(backbone, len(labels)), featurizer, labels
            )
            arrays = read_npz(weights_path)
            weights = [arrays[f"{i}"] for i in range(len(arrays))]
            tagger.classifier.set_weights(weights)
            check_layer(tagger.classifier, weights_path)
        except (KeyError, TypeError, ValueError) as error:
            raise FolderError(
                f"{path} must hold a tagger and its weights. Received: "
                f"{type(error).__name__}: {error}. Retrain it with "
                "`realm-tf train-tagger`."
            ) from error
        return tagger
