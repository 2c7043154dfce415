"""QuestionAnswerer: answers questions with its parts and its index."""

import abc
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf.checkpoints import presets
from realm_tf.checkpoints.weight_files import check_storage, round_layer
from realm_tf.data.corpus.answer import Answer, Evidence
from realm_tf.data.corpus.article import ArticleLike
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.documents import cut_documents
from realm_tf.data.questions.question_texts import (
    check_question,
    check_questions,
)
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.engine import Engine
from realm_tf.engine.fingerprints import (
    embedder_fingerprint,
    reader_fingerprint,
)
from realm_tf.engine.local_engine import LocalEngine
from realm_tf.engine.official_engine import OfficialEngine
from realm_tf.evaluation.calibration import Calibration, check_threshold
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.span_reader import SpanReader
from realm_tf.models.index_building import Documents, build_block_index
from realm_tf.models.open_qa import OpenQA
from realm_tf.models.projection import fit_projection
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.index_builder import EmbeddingChunks
from realm_tf.retrieval.searchers.searcher import SearchResult

MAX_READ = 1000
"""Most blocks read for a question."""

_BLOCKS_AT_ONCE = 1024  # texts in memory


class QuestionAnswerer(abc.ABC):
    """Abstract: answers questions from a corpus.

    Holds retriever, reader and index together, for training as for answering.
    Training takes this class; `realm_tf.realm_qa.RealmQA`, which knows how to
    train and to export, is above it and documents the arguments.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        query_embedder: Embedder,
        block_embedder: Embedder,
        reader: SpanReader,
        *,
        num_read: int = 5,
        lexical_weight: float = 0.0,
        projection_fitted: bool = True,
        official: bool = False,
        encoder: KnowledgeAugmentedEncoder | None = None,
        calibration: Calibration | Mapping[str, float] | None = None,
    ):
        for layer in (query_embedder, block_embedder, reader):
            presets.build(layer)
        self.featurizer = featurizer
        self.reader = reader
        self.num_read = num_read
        self.projection_fitted = projection_fitted
        self.official = official
        self.encoder = encoder
        self.index: BlockIndex | None = None
        self._set_embedders(
            query_embedder,
            block_embedder,
            Calibration.of(calibration),
            lexical_weight,
        )

    def _set_embedders(
        self,
        query_embedder: Embedder,
        block_embedder: Embedder,
        calibration: Calibration,
        lexical_weight: float,
    ) -> None:
        self.query_embedder = query_embedder
        self.block_embedder = block_embedder
        self.model = OpenQA(
            query_embedder,
            self.reader,
            lexical=not self.official,
            name="open_qa",
        )
        self.model.build(None)  # its parts have their weights
        local = LocalEngine(
            self.featurizer, query_embedder, block_embedder, self.reader
        )
        local.calibration = calibration
        self.local_engine = local
        self.question_embedding = local.question_embedding
        self.block_embedding = local.block_embedding
        self.engine: Engine = local
        if self.official:
            self.engine = OfficialEngine(local, self.reader)
        self.lexical_weight = lexical_weight

    @property
    def lexical_weight(self) -> float:
        """Weight w of f(x, z) = e(x) . e(z) + w bm25(x, z); see `Retriever`.

        0 compares embeddings alone, as published. `fit` learns it.
        """
        weight = self.model.retriever.lexical_weight
        return 0.0 if weight is None else float(np.asarray(weight))

    @lexical_weight.setter
    def lexical_weight(self, value: float) -> None:
        if not isinstance(value, numbers.Real) or not np.isfinite(value):
            raise ValueError(
                "`lexical_weight` must be a finite number. Received: "
                f"lexical_weight={value!r}. Take 0 for embeddings alone."
            )
        weight = self.model.retriever.lexical_weight
        if weight is not None:
            weight.assign(value)
        elif value:
            raise ValueError(
                "`lexical_weight` must be 0 where `official` answers as the "
                f"ORQA code does. Received: lexical_weight={value}."
            )

    @property
    def calibration(self) -> Calibration:
        """Temperature and threshold of the answers; see `calibrate`."""
        return self.local_engine.calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self.local_engine.calibration = calibration

    @property
    def parts(self) -> presets.Parts:
        """The parts of a preset."""
        return presets.Parts(
            featurizer=self.featurizer,
            query_embedder=self.query_embedder,
            block_embedder=self.block_embedder,
            reader=self.reader,
            encoder=self.encoder,
            options={
                "num_read": self.num_read,
                "lexical_weight": self.lexical_weight,
                "projection_fitted": self.projection_fitted,
                "official": self.official,
                "calibration": self.calibration.to_json(),
            },
        )

    def save_to_preset(
        self,
        path: str | os.PathLike[str],
        *,
        include_corpus: bool = False,
        overwrite: bool = False,
        storage: str = "float32",
    ) -> None:
        """Writes a preset folder, whole or not at all.

        Args:
            path: the new folder.
            include_corpus: put copies of the corpus and of this version of the
                index into it, with all documents that were added, so that it
                answers out of the box.
            overwrite: replace a preset that is there, with all that is in it.
            storage: "float32"; or "int8", a quarter of it, for which weights
                are rounded channel by channel. The preset has what is read
                from it: a corpus is embedded anew, by the rounded weights.

        Raises:
            FolderError: if `path` exists and may not be replaced, or holds the
                corpus that is answered from and that would not be copied.
            OSError: if the disk is full; nothing is kept.
        """
        check_storage(storage)
        if overwrite and not include_corpus and self.index is not None:
            presets.check_outside(self.index.corpus.path, path)
        saved = self
        if storage == "int8":
            saved = self._rounded(include_corpus)
        presets.save(
            path,
            saved.parts,
            saved.require_index() if include_corpus else None,
            embedder_fingerprint=saved.embedder_fingerprint,
            overwrite=overwrite,
            storage=storage,
        )

    def _rounded(self, with_index: bool) -> "QuestionAnswerer":
        """A copy with the weights that int8 stores, and an index of them."""
        parts = self.parts
        copies = {
            name: presets.copy_layer(layer)
            for name, layer in parts.layers.items()
        }
        for layer in copies.values():
            round_layer(layer)
        copies.setdefault("block_embedder", copies["query_embedder"])
        rounded = type(self)(parts.featurizer, **copies, **parts.options)
        if with_index:
            index = self.require_index()
            stored = index.manifest.options
            rounded.build_index(
                index.whole_corpus(),
                searcher=stored["searcher"],
                dtype=stored["dtype"],
                analyzer=index.analyzer,
            )
        return rounded

    def build_index(
        self,
        source: Documents,
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> BlockIndex:
        """Embeds a corpus and makes it the index that answers.

        Args:
            source: `Corpus`; path of a corpus folder, or of a file or folder
                that `build_corpus` reads; or articles: `Article`, dict with
                "text" and optionally "id" and "title", pair of title and text,
                or text; or a table of pandas, polars, pyarrow or `datasets`
                with columns of these names.
            path: the index folder; a new version is added to one that exists.
                A corpus made of articles goes to `corpus` in it. Defaults to a
                temporary folder that lives as long as the index.
            **options: of `BlockIndex.build`, such as `progress`.

        Returns:
            `BlockIndex`, which is also `self.index`.
        """
        if self.official:
            options.setdefault("analyzer", None)

        def embed(corpus: Corpus) -> tuple[EmbeddingChunks, str]:
            self.fit_projection(corpus)
            embeddings = self.block_embedding.corpus(corpus)
            return embeddings, self.embedder_fingerprint

        self.index = build_block_index(
            source, path, self.featurizer, embed, **options
        )
        return self.index

    def open_index(
        self, path: str | os.PathLike[str], corpus: Corpus, **options: Any
    ) -> BlockIndex:
        """Answers from an index that was built before.

        Args:
            path: the index folder.
            corpus: `Corpus` it was built from.
            **options: of `BlockIndex.open`, such as `allow_mismatch`.

        Raises:
            MismatchError: if it was built with another corpus, tokenizer or
                embedder.
        """
        self.index = BlockIndex.open(
            path,
            corpus,
            embedder_fingerprint=self.embedder_fingerprint,
            **options,
        )
        return self.index

    def fit_projection(self, corpus: Corpus) -> None:
        """Fits the projection of a new sentence encoder to a corpus, once."""
        if self.projection_fitted:
            return
        weights = fit_projection(self.block_embedder, self.featurizer, corpus)
        for embedder in (self.query_embedder, self.block_embedder):
            embedder.projection.set_weights(weights)
        self.projection_fitted = True

    def separate_embedders(self) -> None:
        """Gives questions an embedder of their own: a copy of the blocks'."""
        if self.query_embedder is self.block_embedder:
            copy = presets.copy_layer(self.block_embedder)
            self._set_embedders(
                copy,
                self.block_embedder,
                self.calibration,
                self.lexical_weight,
            )

    def move_to(self, strategy: tf.distribute.Strategy) -> None:
        """Makes the variables anew in the scope of a strategy, once."""
        if self.model.distribute_strategy is strategy:
            return
        with strategy.scope():
            block_embedder = presets.copy_layer(self.block_embedder)
            query_embedder = block_embedder
            if self.query_embedder is not self.block_embedder:
                query_embedder = presets.copy_layer(self.query_embedder)
            self.reader = presets.copy_layer(self.reader)
            self._set_embedders(
                query_embedder,
                block_embedder,
                self.calibration,
                self.lexical_weight,
            )

    @property
    def embedder_fingerprint(self) -> str:
        """SHA-256 of all that decides the embedding of a block."""
        return embedder_fingerprint(self.block_embedder, self.featurizer)

    @property
    def reader_fingerprint(self) -> str:
        """SHA-256 of all that decides what is read in a block."""
        return reader_fingerprint(
            self.reader, self.featurizer, self.calibration
        )

    def ask(self, question: str, **options: Any) -> Answer:
        """Answers one question; see `predict`."""
        check_question(question)
        return self.predict([question], **options)[0]

    def predict(
        self,
        questions: Sequence[str],
        *,
        num_read: int | None = None,
        num_retrieved: int | None = None,
        num_alternatives: int = 4,
        threshold: float | None = None,
    ) -> list[Answer]:
        """Answers questions, each with its evidence.

        A question has the same answer alone as in a batch: probabilities
        differ by at most 1e-5 in float32, and where two answers tie within
        that, either may come first.

        Args:
            questions: texts. They are cut at `featurizer.query_length`
                wordpieces, and `Answer.truncated` tells.
            num_read: blocks that are read; defaults to `self.num_read`.
            num_retrieved: blocks that come back as evidence, if more than are
                read. p(z | x) is over these.
            num_alternatives: most other answers in `Answer.alternatives`.
            threshold: probability an answer needs for `Answer.found`.
                Defaults to that of `calibration`.

        Returns:
            list of `Answer`, in the order of `questions`.

        Raises:
            TypeError: if `questions` are no texts.
            ValueError: if a question has no letter and no digit, a number is
                out of range, or there is no index.
        """
        texts = check_questions(questions)
        num_read = self.num_read if num_read is None else num_read
        num_retrieved = num_read if num_retrieved is None else num_retrieved
        _check_count("num_read", num_read, 1)
        _check_count("num_retrieved", num_retrieved, num_read)
        _check_count("num_alternatives", num_alternatives, 0)
        if threshold is not None:
            check_threshold(threshold)
        answers: list[Answer] = []
        at_once = max(1, _BLOCKS_AT_ONCE // num_retrieved)
        for start in range(0, len(texts), at_once):
            evidence = self.retrieve(
                texts[start : start + at_once], num_retrieved
            )
            spans, readings = self.engine.read_evidence(
                evidence, num_read, 1 + num_alternatives
            )
            needed = readings.threshold if threshold is None else threshold
            answers += map(Answer.of, evidence, spans, [needed] * len(evidence))
        return answers

    def retrieve(self, questions: Sequence[str], k: int) -> list[Evidence]:
        """The best `k` blocks of each question, for the reader."""
        _check_count("k", k, 1)
        embedded = self.engine.embed_questions(questions)
        return self.require_index().retrieve(
            questions,
            embedded.embeddings,
            k,
            truncated=embedded.truncated,
            lexical_weight=self.lexical_weight,
        )

    def search(self, questions: Sequence[str], k: int) -> SearchResult:
        """The best `k` blocks of each question, without reading them."""
        texts = check_questions(questions)
        embedded = self.engine.embed_questions(texts)
        return self.require_index().search(
            embedded.embeddings,
            k,
            texts=texts,
            lexical_weight=self.lexical_weight,
        )

    def add_documents(self, articles: Iterable[ArticleLike]) -> None:
        """Adds documents to the index, or replaces those that exist.

        They are on the disk and can be asked about when this returns.

        Args:
            articles: see `build_index`; each needs an id of its own.

        Raises:
            ValueError: if an article lacks id or text, or there is no index.
        """
        index = self.require_index()
        blocks = cut_documents(articles, self.featurizer)
        if blocks:
            index.add(blocks, self.block_embedding.blocks(blocks))

    def delete_documents(self, document_ids: Iterable[str]) -> None:
        """Deletes documents from the index.

        Raises:
            UnknownDocumentError: a `KeyError`, if one does not exist; then
                none is deleted.
        """
        self.require_index().delete(document_ids)

    @abc.abstractmethod
    def fit(self, questions: Any) -> keras.callbacks.History:
        """Trains the model; `RealmQA` defines it."""

    def require_index(self) -> BlockIndex:
        """`index`, or a `ValueError` that says how to get one."""
        if self.index is None:
            raise ValueError(
                "There must be an index to answer from. Received: none. Call "
                "`build_index(articles)` or `open_index(path, corpus)` first."
            )
        return self.index


def _check_count(name: str, value: Any, least: int) -> None:
    is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_int or not least <= value <= MAX_READ:
        raise ValueError(
            f"`{name}` must be an integer from {least} to {MAX_READ}. "
            f"Received: {name}={value!r}."
        )
