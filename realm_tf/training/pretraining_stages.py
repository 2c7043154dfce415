"""The two stages of pre-training, from a `RealmQA` to a better one."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf._constants import MASKED_WORDS_LEARNING_RATE
from realm_tf._progress import Progress, no_progress
from realm_tf.checkpoints.presets import build, copy_layer
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.data.spans.sentence_masks import SentenceMasks
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.models.inverse_cloze_pretrainer import InverseClozePretrainer
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    RefreshOptions,
    TrainingOptions,
)
from realm_tf.training.datasets.inverse_cloze_dataset import InverseClozeDataset
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.multi_worker import is_chief
from realm_tf.training.pretraining import pretrain
from realm_tf.training.probes import ExampleProbe, FreshIndex, RecallProbe
from realm_tf.training.refresh.bucket_exchange import BucketExchange
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.index_follower import IndexFollower
from realm_tf.training.refresh.index_refresh import IndexRefresh
from realm_tf.training.refresh.refresher import Refresher

_MOST_COUNTED = 20_000  # blocks, for the frequencies of wordpieces


def pretrain_inverse_cloze(
    qa: QuestionAnswerer,
    corpus: Corpus,
    folder: str | os.PathLike[str],
    training: TrainingOptions | None = None,
    data: InverseClozeOptions | None = None,
    *,
    mask_duplicates: bool = True,
    chunk_size: int | None = None,
    query_length: int | None = None,
    block_length: int | None = None,
    probe: Sequence[Question] = (),
    probe_every: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress = no_progress,
) -> InverseClozePretrainer:
    """Trains the embedders of `qa` to find the block of a sentence.

    Args:
        qa: its embedders are trained in place.
        corpus: `Corpus` of the sentences and the blocks.
        folder: checkpoints and figures; a stopped run is resumed from here.
        training: `TrainingOptions`.
        data: `InverseClozeOptions`.
        mask_duplicates: see `InverseClozePretrainer`.
        chunk_size: see `InverseClozePretrainer`.
        query_length: wordpieces of a sentence in training, special tokens
            counted; defaults to that of the featurizer of `qa`. A long row
            makes all rows of its batch long, so a shorter one is faster.
        block_length: wordpieces of a block in training; the same. The index
            keeps the full length.
        probe: questions, never trained on, whose recall is shown.
        probe_every: steps between probes, each of which embeds the corpus;
            default: the first step and the last.
        strategy: of several devices or hosts, in whose scope `qa` was made.
        callbacks: of `fit`.
        progress: see `pretrain`.

    Returns:
        The model that was trained.
    """
    qa.fit_projection(corpus)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = InverseClozePretrainer(
            qa.block_embedder,
            qa.query_embedder,
            mask_duplicates=mask_duplicates,
            chunk_size=chunk_size,
        )
    featurizer = qa.featurizer.with_lengths(
        query_length=query_length, block_length=block_length
    )
    dataset = InverseClozeDataset(corpus, featurizer, data)
    training = training or TrainingOptions()
    probes: list[keras.callbacks.Callback] = []
    if probe:
        last = training.num_steps
        fresh = FreshIndex(qa, corpus)
        probes.append(RecallProbe(fresh, probe, probe_every or last, last))
    pretrain(
        model,
        dataset,
        folder,
        training,
        callbacks=[*probes, *callbacks],
        progress=progress,
    )
    return model


def pretrain_masked_words(
    qa: QuestionAnswerer,
    corpus: Corpus,
    masks: SentenceMasks,
    folder: str | os.PathLike[str],
    training: TrainingOptions | None = None,
    data: MaskedSentenceOptions | None = None,
    *,
    text: Corpus | None = None,
    marginalize: str = "token",
    block_length: int | None = None,
    train_retriever: bool = True,
    gradient_checkpointing: bool = False,
    probe: Sequence[Question] = (),
    index_options: dict[str, Any] | None = None,
    bucket: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress = no_progress,
    **refresh_options: Any,
) -> RealmPretrainer:
    """Trains embedders and backbone of `qa` to predict masked words.

    The encoder of `qa`, or a new one on the backbone of its reader, is trained
    too. In the end the reader gets the encoder's backbone, ready for
    fine-tuning. Where nothing is searched (`num_candidates=1`, the null block
    alone, and `candidates="mentions"`) there is no index, and the embedders are
    frozen.

    Args:
        qa: trained in place.
        corpus: `Corpus` that is searched.
        masks: `SentenceMasks` of `text`.
        folder: checkpoints, figures and the index; a stopped run is resumed
            from here.
        training: `TrainingOptions`.
        data: `MaskedSentenceOptions`.
        text: `Corpus` of the sentences; defaults to `corpus`.
        marginalize: see `RealmPretrainer`.
        block_length: wordpieces of a candidate in training, see
            `pretrain_inverse_cloze`.
        train_retriever: `False` freezes the embedders while the encoder
            learns to read; the index is built once.
        gradient_checkpointing: see `RealmPretrainer`.
        probe: questions, never trained on, whose recall is shown.
        index_options: of `BlockIndex.build`; with `mode="background"` only
            `searcher`, with `"external"` none.
        bucket: for `mode="external"`, a folder of a bucket (`gs://...`) through
            which the refresher is reached; default: a shared `folder/exchange`.
        strategy: of several devices or hosts, in whose scope `qa` was made.
        callbacks: of `fit`.
        progress: see `pretrain`.
        **refresh_options: of `IndexRefresh`, such as `every_n_steps`.

    Returns:
        The model that was trained.

    Raises:
        ValueError: if there is a probe, but nothing is searched; a bucket, but
            no refresher elsewhere; or index options that it cannot be given.
    """
    folder = pathlib.Path(folder)
    training = training or TrainingOptions(
        learning_rate=MASKED_WORDS_LEARNING_RATE
    )
    data = data or MaskedSentenceOptions()
    if probe and not data.searches:
        raise ValueError(
            "`probe` must be empty where nothing is searched. Received: "
            f"{len(probe)} questions, num_candidates={data.num_candidates}, "
            f"candidates={data.candidates!r}. Leave them out."
        )
    if bucket and refresh_options.get("mode") != "external":
        raise ValueError(
            '`bucket` goes with mode="external" alone. Received: '
            f"bucket={bucket!r}, mode={refresh_options.get('mode')!r}. Leave "
            "it out where this machine refreshes the index."
        )
    if data.searches:
        qa.fit_projection(corpus)
    text = text or corpus
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        qa.encoder = qa.encoder or new_encoder(qa, text)
        model = RealmPretrainer(
            qa.block_embedder,
            qa.encoder,
            qa.query_embedder,
            marginalize=marginalize,
            train_retriever=train_retriever and data.searches,
            gradient_checkpointing=gradient_checkpointing,
        )
    every = refresh_options.setdefault(
        "every_n_steps", RefreshOptions.every_n_steps
    )
    if not train_retriever:
        # Its index never ages.
        refresh_options["every_n_steps"] = training.num_steps + 1
        refresh_options["max_staleness_steps"] = None
    index: _TrainingIndex | _NoIndex = _NoIndex()
    if data.searches:
        exchange = Exchange(folder / "exchange")
        if bucket:
            exchange = BucketExchange(bucket, exchange.path)
        index = _TrainingIndex(
            qa, corpus, exchange, strategy, index_options, refresh_options
        )
    featurizer = qa.featurizer.with_lengths(block_length=block_length)
    shown, dataset = (
        MaskedSentenceDataset(text, masks, follower, featurizer, data)
        for follower in (index.follow(), index.follower)
    )
    probes: list[keras.callbacks.Callback] = [
        ExampleProbe(shown, folder, every, training.num_steps)
    ]
    if isinstance(index, _TrainingIndex) and probe:
        probes.append(RecallProbe(index.follow(), probe, every))
    with _trainable_as_before(qa.query_embedder, qa.block_embedder):
        pretrain(
            model,
            dataset,
            folder,
            training,
            refresh=index.refresh,
            callbacks=[*probes, *callbacks],
            progress=progress,
        )
    qa.reader.backbone.set_weights(qa.encoder.backbone.get_weights())
    return model


class _NoIndex:
    """Of a training that searches nothing."""

    follower = None
    refresh = None

    def follow(self) -> None:
        return None


class _TrainingIndex:
    """The index of a training, with its search and its refresh."""

    def __init__(
        self,
        qa: QuestionAnswerer,
        corpus: Corpus,
        exchange: Exchange,
        strategy: tf.distribute.Strategy,
        index_options: dict[str, Any] | None,
        refresh_options: dict[str, Any],
    ):
        mode = refresh_options.setdefault("mode", "sync")
        is_sync = mode == "sync"
        elsewhere = {} if is_sync else dict(index_options or {})
        # The child must compute as this process does.
        dtype = qa.block_embedder.backbone.dtype_policy.name
        child_options = {"dtype": dtype}
        if mode == "background" and "searcher" in elsewhere:
            child_options["searcher"] = elsewhere.pop("searcher")
        if elsewhere:
            raise ValueError(
                "`index_options` must be those that the refresher can be "
                f"given. Received: mode={mode!r}, {', '.join(elsewhere)}. "
                'Leave them out, or use mode="sync".'
            )
        if is_chief(strategy):
            exchange.begin(qa, corpus)
        self.follow = functools.partial(
            IndexFollower,
            exchange,
            corpus,
            qa.featurizer,
            qa.query_embedder,
        )
        if is_sync:
            # It waits for this process: for ever, if need be.
            waits = {"every_n_steps": refresh_options["every_n_steps"]}
        else:
            waits = {"timeout": refresh_options.get("timeout")}
            if refresh_options.get("on_stale", "wait") == "wait":
                most = refresh_options.get("max_staleness_steps")
                waits["max_staleness_steps"] = most
        self.follower = self.follow(**waits)
        self.refresh = IndexRefresh(
            exchange,
            qa.query_embedder,
            qa.block_embedder,
            self.follower,
            make_refresher(qa, corpus, exchange, index_options)
            if is_sync
            else None,
            child_options=child_options,
            **refresh_options,
        )


@contextlib.contextmanager
def _trainable_as_before(*layers: keras.layers.Layer) -> Iterator[None]:
    """Makes trainable after a stage what the stage made untrainable."""
    variables = [v for layer in layers for v in layer.trainable_variables]
    try:
        yield
    finally:
        for variable in variables:
            variable.trainable = True


def new_encoder(
    qa: QuestionAnswerer, text: Corpus
) -> KnowledgeAugmentedEncoder:
    """An encoder with a copy of the reader's backbone and a new head.

    Args:
        qa: `QuestionAnswerer`.
        text: `Corpus` whose wordpieces the head predicts, at first as often
            as they occur in it.
    """
    encoder = KnowledgeAugmentedEncoder(
        copy_layer(qa.reader).backbone, name="encoder"
    )
    build(encoder)
    size = min(text.num_blocks, _MOST_COUNTED)
    sample = np.linspace(0, text.num_blocks - 1, size).astype(np.int64)
    token_ids = np.concatenate([text.token_ids(i) for i in sample.tolist()])
    vocabulary_size = encoder.backbone.vocabulary_size
    encoder.start_from_counts(
        np.bincount(token_ids, minlength=vocabulary_size)[:vocabulary_size]
    )
    return encoder


def make_refresher(
    qa: QuestionAnswerer,
    corpus: Corpus,
    exchange: Exchange,
    index_options: dict[str, Any] | None = None,
) -> Refresher:
    """A refresher with copies of the embedders of `qa`.

    Args:
        qa: `QuestionAnswerer`.
        corpus: `Corpus` to embed.
        exchange: `Exchange`.
        index_options: of `BlockIndex.build`.
    """
    query_embedder = copy_layer(qa.query_embedder)
    block_embedder = query_embedder
    if qa.block_embedder is not qa.query_embedder:
        block_embedder = copy_layer(qa.block_embedder)
    return Refresher(
        exchange,
        corpus,
        qa.featurizer,
        query_embedder,
        block_embedder,
        **(index_options or {}),
    )
