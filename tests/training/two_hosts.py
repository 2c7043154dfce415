"""What one of two hosts runs, or one alone: pre-trains a tiny model.

two_hosts.py ict|mlm|stop CORPUS VOCABULARY FOLDER

"stop" is ict, which the first host ends after two steps.
"""

import json
import os
import sys

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.sentence_masks import RandomTokenMasks
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader
from realm_tf.models.inverse_cloze_pretrainer import InverseClozePretrainer
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    TrainingOptions,
)
from realm_tf.realm_qa import RealmQA
from realm_tf.training.datasets.inverse_cloze_dataset import InverseClozeDataset
from realm_tf.training.multi_worker import fit_steps
from realm_tf.training.pretraining import new_optimizer
from realm_tf.training.pretraining_stages import (
    pretrain_inverse_cloze,
    pretrain_masked_words,
)

kind, corpus, vocabulary, folder = sys.argv[1:]
task = 0
strategy = tf.distribute.get_strategy()
if "TF_CONFIG" in os.environ:
    # Before anything else: it starts the server of this host.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
featurizer = Featurizer.from_file(
    vocabulary, query_length=16, block_length=48, joint_length=80
)


def trunk():
    return keras_hub.models.BertBackbone(
        vocabulary_size=featurizer.vocabulary_size,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=80,
        dropout=0.0,
    )


with strategy.scope():
    embedder = Embedder(trunk(), embedding_dim=8, dropout=0.0)
    qa = RealmQA(featurizer, embedder, embedder, SpanReader(trunk()))
rng = np.random.default_rng(0)
for weight in [*embedder.weights, *qa.reader.weights]:
    if weight.path.endswith(("kernel", "embeddings")):
        weight.assign(rng.normal(0, 0.5, weight.shape))
keras.utils.set_random_seed(0)
training = TrainingOptions(
    num_steps=4,
    learning_rate=1e-2,
    num_warmup_steps=0,
    checkpoint_every=2,
    log_every=1,
)
data = InverseClozeOptions(batch_size=8, run_length=2)
if kind == "stop":

    class Stop(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            self.model.stop_training = task == 0 and self.steps == 2

    with strategy.scope():
        model = InverseClozePretrainer(embedder)
        model.compile(optimizer=new_optimizer(training))
        model.optimizer.build(model.trainable_variables)
    dataset = InverseClozeDataset(Corpus.open(corpus), featurizer, data)
    fit_steps(model, dataset, 0, 4, [stop := Stop()])
    with open(f"{folder}/steps-{task}.txt", "w") as file:
        file.write(f"{stop.steps} {model.stop_training}")
elif kind == "ict":
    pretrain_inverse_cloze(
        qa,
        Corpus.open(corpus),
        folder,
        training,
        data,
        strategy=strategy,
    )
else:
    pretrain_masked_words(
        qa,
        Corpus.open(corpus),
        RandomTokenMasks(),
        folder,
        training,
        MaskedSentenceOptions(batch_size=4, num_candidates=3, query_length=24),
        every_n_steps=2,
        strategy=strategy,
    )
weights = [*embedder.weights, *qa.reader.backbone.weights]
np.savez(
    f"{folder}/weights-{task}.npz",
    **{f"{i}": np.asarray(weight) for i, weight in enumerate(weights)},
)
