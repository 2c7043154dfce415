"""Training of an `EntityTagger` on sentences with known entities."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from realm_tf._progress import Progress, no_progress
from realm_tf.data.spans.entities import (
    ENTITY_TYPES,
    IGNORED,
    EntitySentence,
    entity_f1,
    label_names,
    rows,
    wordpiece_labels,
)
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.packing import pack_singles, trim
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.token_classifier import TokenClassifier
from realm_tf.models.entity_tagger import EntityTagger
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay
from realm_tf.options import TaggerOptions
from realm_tf.training.datasets.batching import length_batches
from realm_tf.training.datasets.epoch_dataset import as_dataset
from realm_tf.training.progress_callback import ProgressCallback
from realm_tf.training.skipped_padding import skipped_padding


def train_tagger(
    backbone: keras.Model,
    featurizer: Featurizer,
    sentences: Sequence[EntitySentence],
    options: TaggerOptions | None = None,
    *,
    types: Sequence[str] = ENTITY_TYPES,
    progress: Progress = no_progress,
) -> EntityTagger:
    """Trains a tagger, its backbone included.

    Args:
        backbone: `keras_hub.models.BertBackbone`; trained in place.
        featurizer: `Featurizer` of its vocabulary.
        sentences: to learn from.
        options: `TaggerOptions`.
        types: of entities.
        progress: see `Progress`; its stage is "tagger", its units are steps.

    Returns:
        `EntityTagger`.

    Raises:
        ValueError: if there are no sentences.
    """
    if not sentences:
        raise ValueError(
            "There must be sentences to learn from. Received: none. Check the "
            "file and its splits."
        )
    options = options or TaggerOptions()
    labels = label_names(types)
    tagger = EntityTagger(
        TokenClassifier(backbone, len(labels)), featurizer, labels
    )
    batch_size = min(options.batch_size, len(sentences))
    data = _Batches(tagger, sentences, batch_size, options.seed)
    steps = max(1, data.num_batches * options.epochs)
    model = _Model(tagger.classifier)
    model.compile(
        optimizer=BertAdamW(
            WarmupLinearDecay(options.learning_rate, steps, steps // 10)
        ),
        loss=_loss,
    )
    with skipped_padding(model):
        model.fit(
            data.as_dataset(),
            epochs=options.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[ProgressCallback("tagger", steps, progress)],
        )
    return tagger


def evaluate_tagger(
    tagger: EntityTagger, sentences: Sequence[EntitySentence]
) -> dict[str, float]:
    """Precision, recall and F1 of entities; see `entity_f1`."""
    return entity_f1(sentences, tagger.tag([s.text for s in sentences]))


class _Model(keras.Model):
    """A layer alone cannot be fitted."""

    def __init__(self, classifier: TokenClassifier):
        super().__init__(name="tagger")
        self.classifier = classifier
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.classifier(inputs, training=training)


class _Batches:
    def __init__(
        self,
        tagger: EntityTagger,
        sentences: Sequence[EntitySentence],
        batch_size: int,
        seed: int,
    ):
        featurizer = tagger.featurizer
        wordpieces = rows(featurizer.tokenize([s.text for s in sentences]))
        self._ids = [ids for ids, _, _ in wordpieces]
        self._labels = [
            wordpiece_labels(sentence, row, featurizer, tagger.labels)
            for sentence, row in zip(sentences, wordpieces, strict=True)
        ]
        self._tagger = tagger
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        self.num_batches = len(sentences) // batch_size

    def as_dataset(self) -> tf.data.Dataset:
        spec = tf.TensorSpec([self._batch_size, None], tf.int32)
        signature = ({name: spec for name in FEATURES}, spec)
        return as_dataset(self._epoch_batches, signature, self.num_batches)

    def _epoch_batches(self) -> Iterator[Any]:
        rng = np.random.default_rng((self._seed, self._epoch))
        self._epoch += 1
        lengths = np.array([len(ids) for ids in self._ids])
        for places in length_batches(lengths, self._batch_size, rng):
            features = trim(
                pack_singles(
                    [self._ids[i] for i in places],
                    self._tagger.max_length,
                    self._tagger.featurizer,
                )
            )
            length = features["token_ids"].shape[1]
            targets = np.full((len(places), length), IGNORED, np.int32)
            for row, i in enumerate(places):
                labels = self._labels[i][: length - 2]
                targets[row, 1 : 1 + len(labels)] = labels
            yield features, targets


def _loss(y_true: Any, y_pred: Any) -> Any:
    """Mean cross-entropy of each sentence, over the words that have a label."""
    weights = ops.cast(y_true != IGNORED, "float32")
    labels = ops.maximum(y_true, 0)
    losses = keras.losses.sparse_categorical_crossentropy(
        labels, y_pred, from_logits=True
    )
    total = ops.maximum(ops.sum(weights, axis=-1), 1.0)
    return ops.sum(losses * weights, axis=-1) / total
