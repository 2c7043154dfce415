"""Batches of masked sentences as files, for a training without TensorFlow."""

import os
import pathlib
from typing import Any

import numpy as np

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.sentence_masks import SentenceMasks
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.options import MaskedSentenceOptions
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.pretraining_stages import make_refresher, new_encoder
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.index_follower import IndexFollower


def write_masked_features(
    qa: QuestionAnswerer,
    corpus: Corpus,
    masks: SentenceMasks,
    folder: str | os.PathLike[str],
    options: MaskedSentenceOptions,
    *,
    num_batches: int,
) -> RealmPretrainer:
    """Writes the batches that masked-word pre-training of `qa` begins with.

    Text and retrieval need TensorFlow; `RealmPretrainer` does not, so it can
    train on the files with JAX. The index is that of the weights of `qa`.

    Args:
        qa: `RealmQA` with the embedders that retrieve.
        corpus: `Corpus` of the sentences, which is searched too.
        masks: `SentenceMasks` of `corpus`.
        folder: new folder. Gets `batch-NNNNNN.npz`, with the features by name,
            and the index.
        options: `MaskedSentenceOptions`; JAX needs `trim=False`.
        num_batches: number of files.

    Returns:
        The model to train, with the weights of `qa`.

    Raises:
        FileExistsError: if the folder is there, as its index could be that of
            another model.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    qa.fit_projection(corpus)
    exchange = Exchange(folder / "exchange")
    exchange.begin(qa, corpus)
    exchange.write_snapshot(0, qa.query_embedder, qa.block_embedder)
    make_refresher(qa, corpus, exchange).refresh()
    follower = IndexFollower(exchange, corpus, qa.featurizer, qa.query_embedder)
    data = MaskedSentenceDataset(
        corpus, masks, follower, qa.featurizer, options
    )
    for step in range(num_batches):
        batch: dict[str, Any] = data.batch(step)
        np.savez_compressed(folder / f"batch-{step:06d}.npz", **batch)
    model = RealmPretrainer(
        qa.block_embedder,
        qa.encoder or new_encoder(qa, corpus),
        qa.query_embedder,
    )
    model.build(None)
    return model
