"""RealmQA: questions in, answers with their evidence out."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from realm_tf import _constants
from realm_tf.checkpoints import load, presets
from realm_tf.checkpoints.bert import BertFolder
from realm_tf.checkpoints.checkpoint import Checkpoint
from realm_tf.data.corpus.answer import Answer
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.documents import ArticleLike, cut_documents
from realm_tf.data.questions.question_texts import (
    check_question,
    check_questions,
)
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.question_answerer import (
    QuestionAnswerer,
    answer_officially,
    check_lengths,
)
from realm_tf.engine.text_embedder import (
    TextEmbedder,
    embedder_fingerprint,
    reader_fingerprint,
)
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.layers.span_reader import SpanReader
from realm_tf.models.index_building import build_block_index
from realm_tf.models.open_qa import OpenQA
from realm_tf.models.projection import fit_projection
from realm_tf.models.summary import describe
from realm_tf.options import ExportOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.index_builder import EmbeddingChunks
from realm_tf.retrieval.searchers.searcher import SearchResult
from realm_tf.serving.bundle import Bundle
from realm_tf.serving.export.exporter import export


class RealmQA:
    """Answers questions from a corpus: retriever, reader and index together.

    Start from a preset (`from_preset`) or from any BERT (`from_bert`), index
    documents (`build_index`), and ask. Train it with
    `realm_tf.training.finetuning.finetune`, or with `fit` of `model`.

    Args:
        featurizer: `Featurizer`.
        query_embedder: `Embedder` of questions.
        block_embedder: `Embedder` of blocks; the same object while the two
            share weights.
        reader: `SpanReader`.
        num_read: blocks that are read for a question. Defaults to 5 (the ORQA
            code); another number can be asked for with each question.
        projection_fitted: `False` if the projection of a mean-pooled
            `block_embedder` is still to be fitted to the first corpus.
        official: answer as the ORQA code does, to compare with published
            figures; see `docs/parity.md`. No alternatives and no offsets then.
        encoder: `KnowledgeAugmentedEncoder`, which pre-training goes on with.

    Raises:
        ValueError: if a length is beyond what a trunk was made for.

    Example:
    ```python
    qa = RealmQA.from_preset("presets/realm_nq")
    qa.build_index([("Emma", "Emma is a novel by Jane Austen.")])
    answer = qa.ask("Who wrote Emma?")
    answer.block.text[answer.start : answer.end]  # == answer.text
    ```

    Source: Guu et al., 2020 (arXiv:2002.08909); Lee et al., 2019
    (arXiv:1906.00300). HF: RealmForOpenQA and RealmRetriever.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        query_embedder: Embedder,
        block_embedder: Embedder,
        reader: SpanReader,
        *,
        num_read: int = 5,
        projection_fitted: bool = True,
        official: bool = False,
        encoder: KnowledgeAugmentedEncoder | None = None,
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
        self._set_embedders(query_embedder, block_embedder)
        check_lengths(featurizer, query_embedder, block_embedder, reader)

    def _set_embedders(
        self, query_embedder: Embedder, block_embedder: Embedder
    ) -> None:
        self.query_embedder = query_embedder
        self.block_embedder = block_embedder
        self.model = OpenQA(query_embedder, self.reader, name="open_qa")
        self.question_embedding = TextEmbedder(query_embedder, self.featurizer)
        self.block_embedding = self.question_embedding
        if block_embedder is not query_embedder:
            self.block_embedding = TextEmbedder(block_embedder, self.featurizer)
        self._answerer = QuestionAnswerer(self.question_embedding, self.reader)
        if self.official:
            self.question_embedding, self._answerer = answer_officially(
                self.featurizer, query_embedder, self.reader
            )

    @classmethod
    def from_bert(
        cls,
        folder: str | os.PathLike[str],
        *,
        embedding_dim: int = _constants.EMBEDDING_DIM,
        pooling: str | None = None,
        dropout: float = 0.1,
        dtype: Any = None,
        logit_scale: float | None = None,
        **featurizer_options: Any,
    ) -> "RealmQA":
        """Starts from a BERT folder in the Hugging Face layout.

        Retriever and reader start from the same trunk. A sentence-transformers
        folder becomes a mean-pooled embedder, whose projection is fitted by
        PCA to the first corpus that is indexed; any other has the published
        head, which knows nothing before it is trained.

        Args:
            folder: with `config.json`, `model.safetensors`, `vocab.txt`.
            embedding_dim: width of the embeddings.
            pooling: "cls" or "mean", see `Embedder`; default: as said above.
            dropout: rate in training: of the trunks and of "cls" embeddings.
            dtype: dtype policy of the trunks; defaults to Keras' global one.
            logit_scale: expected inner product of an embedding with itself,
                see `BertFolder.load_parts`.
            **featurizer_options: of `Featurizer`, such as `block_length`.

        Raises:
            ValueError: if the folder is no BERT, or `logit_scale` is bad.
        """
        parts = BertFolder.open(folder, **featurizer_options).load_parts(
            embedding_dim=embedding_dim,
            pooling=pooling,
            dropout=dropout,
            dtype=dtype,
            logit_scale=logit_scale,
        )
        return cls._from_parts(parts, folder)

    @classmethod
    def _from_parts(cls, parts: presets.Parts, source: object) -> "RealmQA":
        parts.check_answers(source)
        return cls(
            parts.featurizer,
            parts.query_embedder,
            parts.block_embedder,
            parts.reader,
            encoder=parts.encoder,
            **parts.options,
        )

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint | str | os.PathLike[str], **options: Any
    ) -> "RealmQA":
        """Starts from a published checkpoint of REALM, ORQA or BERT.

        Args:
            checkpoint: what `realm_tf.checkpoints.load` takes or returned.
            **options: of `load`.

        Raises:
            CheckpointError: see `load`.
            ValueError: if it has no embedder or no reader.
        """
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = load(checkpoint, **options)
        return cls._from_parts(checkpoint.parts, checkpoint.source)

    @classmethod
    def from_preset(
        cls,
        path: str | os.PathLike[str],
        *,
        dtype: Any = None,
        dropout: float | None = None,
        verify: bool = True,
        official: bool | None = None,
    ) -> "RealmQA":
        """Loads a preset; with its corpus and index, if it has them.

        Args:
            path: folder that `save_to_preset` wrote.
            dtype: dtype policy of the trunks; defaults to Keras' global one.
            dropout: rate in training, as in `from_bert`; defaults to what was
                saved.
            verify: compare the SHA-256 of every file.
            official: see `RealmQA`; defaults to what was saved.

        Raises:
            FolderError: if the folder is no preset, or damaged.
            ValueError: if it has no embedder or no reader.
        """
        path = pathlib.Path(path)
        parts = presets.read_preset(
            path, dtype=dtype, dropout=dropout, verify=verify
        )
        if official is not None:
            parts.options["official"] = official
        qa = cls._from_parts(parts, path)
        corpus_path = path / presets.CORPUS_NAME
        index_path = path / presets.INDEX_NAME
        if corpus_path.is_dir() and index_path.is_dir():
            corpus = Corpus.open(corpus_path, verify=verify)
            qa.open_index(index_path, corpus, verify=verify)
        return qa

    def save_to_preset(
        self,
        path: str | os.PathLike[str],
        *,
        include_corpus: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Writes a preset folder, whole or not at all.

        Args:
            path: the new folder.
            include_corpus: put copies of the corpus and of this version of the
                index into it, with all documents that were added, so that it
                answers out of the box.
            overwrite: replace a preset that is there, with all that is in it.

        Raises:
            FolderError: if `path` exists and may not be replaced, or holds the
                corpus that is answered from and that would not be copied.
            OSError: if the disk is full; nothing is kept.
        """
        if overwrite and not include_corpus and self.index is not None:
            presets.check_outside(self.index.corpus.path, path)
        parts = presets.Parts(
            featurizer=self.featurizer,
            query_embedder=self.query_embedder,
            block_embedder=self.block_embedder,
            reader=self.reader,
            encoder=self.encoder,
            options={
                "num_read": self.num_read,
                "projection_fitted": self.projection_fitted,
                "official": self.official,
            },
        )
        presets.save(
            path,
            parts,
            self.require_index() if include_corpus else None,
            embedder_fingerprint=self.embedder_fingerprint,
            overwrite=overwrite,
        )

    def build_index(
        self,
        source: Corpus | str | os.PathLike[str] | Iterable[ArticleLike],
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> BlockIndex:
        """Embeds a corpus, and answers from it from now on.

        Args:
            source: `Corpus`, path of a corpus folder, or articles: `Article`,
                dict with "text" and optionally "id" and "title", pair of title
                and text, or text.
            path: the index folder; a new version is added to one that exists.
                A corpus made of articles goes to `corpus` in it. Defaults to a
                temporary folder that lives as long as the index.
            **options: of `BlockIndex.build`, such as `progress`.

        Returns:
            `BlockIndex`, which is also `self.index`.
        """

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
            self._set_embedders(copy, self.block_embedder)

    @property
    def embedder_fingerprint(self) -> str:
        """SHA-256 of all that decides the embedding of a block."""
        return embedder_fingerprint(self.block_embedder, self.featurizer)

    @property
    def reader_fingerprint(self) -> str:
        """SHA-256 of all that decides what is read in a block."""
        return reader_fingerprint(self.reader, self.featurizer)

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
        threshold: float = 0.0,
    ) -> list[Answer]:
        """Answers questions, each with its evidence.

        A question has the same answer alone and among others: each is computed
        by itself, which is as fast on a processor.

        Args:
            questions: texts. They are cut at `featurizer.query_length`
                wordpieces, and `Answer.truncated` tells.
            num_read: blocks that are read; defaults to `self.num_read`.
            num_retrieved: blocks that come back as evidence, if more than are
                read. p(z | x) is over these.
            num_alternatives: most other answers in `Answer.alternatives`.
            threshold: probability an answer needs for `Answer.found`.

        Returns:
            list of `Answer`, in the order of `questions`.

        Raises:
            TypeError: if `questions` are no texts.
            ValueError: if a question has no letter and no digit, a number is
                out of range, or there is no index.
        """
        texts = check_questions(questions)
        return self._answerer.answer(
            texts,
            self.require_index(),
            num_read=self.num_read if num_read is None else num_read,
            num_retrieved=num_retrieved,
            num_alternatives=num_alternatives,
            threshold=threshold,
        )

    def search(self, questions: Sequence[str], k: int) -> SearchResult:
        """The best `k` blocks of each question, without reading them."""
        texts = check_questions(questions)
        embeddings = self.question_embedding.questions(texts)
        return self.require_index().search(embeddings, k)

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

    def export(self, folder: str | os.PathLike[str], **options: Any) -> Bundle:
        """Writes SavedModels for servers, with corpus and index beside.

        Args:
            folder: new, or an earlier export, which gets the next version.
            **options: of `ExportOptions`, such as `models`.

        Returns:
            `Bundle`; see `realm_tf.serving.export.exporter.export`.
        """
        return export(self, folder, ExportOptions(**options))

    def summary(self) -> str:
        """What it is made of, in a few lines."""
        return describe(self)

    def require_index(self) -> BlockIndex:
        """`index`, or a `ValueError` that says how to get one."""
        if self.index is None:
            raise ValueError(
                "There must be an index to answer from. Received: none. Call "
                "`build_index(articles)` or `open_index(path, corpus)` first."
            )
        return self.index
