"""RealmQA: questions in, answers with their evidence out."""

import os
import pathlib
from typing import Any

from realm_tf import _constants
from realm_tf.checkpoints import load, presets
from realm_tf.checkpoints.bert import BertFolder
from realm_tf.checkpoints.checkpoint import Checkpoint
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.models.summary import describe
from realm_tf.options import ExportOptions
from realm_tf.serving.bundle import Bundle
from realm_tf.serving.export.exporter import export


class RealmQA(QuestionAnswerer):
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

    def export(self, folder: str | os.PathLike[str], **options: Any) -> Bundle:
        """Writes SavedModels for servers, with corpus and index beside.

        Args:
            folder: new, or an earlier export, which gets the next version.
            **options: of `ExportOptions`, such as `models`.

        Returns:
            `Bundle`; see `realm_tf.serving.export.exporter.export`.
        """
        return export(self.parts, self.index, folder, ExportOptions(**options))

    def summary(self) -> str:
        """What it is made of, in a few lines."""
        return describe(self)
