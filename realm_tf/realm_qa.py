"""RealmQA: questions in, answers with their evidence out."""

import os
from collections.abc import Sequence
from typing import Any

from realm_tf.checkpoints import named_presets
from realm_tf.checkpoints.loading import Source, load_parts
from realm_tf.checkpoints.presets import CORPUS_NAME, INDEX_NAME, has_index
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.models.summary import describe
from realm_tf.serving.bundle import Bundle
from realm_tf.serving.export.exporter import ExportOptions, export


class RealmQA(QuestionAnswerer):
    """Answers questions from a corpus: retriever, reader and index together.

    Start from a preset or from any BERT (`from_preset`), index documents
    (`build_index`), and ask. Train it with
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

    presets = named_presets.PRESETS
    """Name -> `NamedPreset` of all presets that `from_preset` takes by name."""

    @classmethod
    def from_preset(
        cls, preset: Source | Sequence[Source], **options: Any
    ) -> "RealmQA":
        """Loads a model, of whatever kind; the one way to get one.

        Args:
            preset: one of these, which are told apart by their files:

                - the name of a preset, see `RealmQA.presets`;
                - a preset that `save_to_preset` or `realm-tf` wrote. It
                  answers at once if it has a corpus and an index;
                - a BERT in the Hugging Face layout, from whose trunk embedder
                  and reader start, to be trained. With sentence-transformers,
                  embeddings are means whose projection is fitted by PCA to the
                  first corpus that is indexed, and which retrieve well;
                - a published checkpoint of REALM, ORQA or BERT, see
                  `realm_tf.checkpoints.load`, or a list of several with
                  different parts, such as an embedder and an encoder.

                Where it is: a folder, `hf://owner/name`, or an address that
                `tf.io.gfile` reads, such as `gs://...`.
            **options: `dtype`, the dtype policy of the trunks (default: Keras'
                global one), and `dropout`, the rate in training (default: what
                was saved, or 0). Others belong to one kind:

                - of a preset: `verify=False` skips the comparison of every
                  file's SHA-256; `official`, see `RealmQA`;
                - of a BERT: `embedding_dim`, `pooling` and `logit_scale`, see
                  `BertFolder.load_parts`; those of `Featurizer`, such as
                  `block_length`;
                - of a checkpoint: `block_embedder`, another checkpoint, whose
                  embedder embeds blocks; those of `LoadOptions`, such as
                  `partial`; `official`.

        Raises:
            CheckpointError: if `preset` is nothing of the kind, or damaged.
            FolderError: if a preset is damaged.
            ImportError: if `hf://` is asked for without huggingface_hub.
            ValueError: if its kind does not know an option, or if it has no
                embedder or no reader.
        """
        parts, folder = load_parts(preset, **options)
        parts.check_answers(preset)
        qa = cls(
            parts.featurizer,
            parts.query_embedder,
            parts.block_embedder,
            parts.reader,
            encoder=parts.encoder,
            **parts.options,
        )
        if folder is not None and has_index(folder):
            verify = options.get("verify", True)
            corpus = Corpus.open(folder / CORPUS_NAME, verify=verify)
            qa.open_index(folder / INDEX_NAME, corpus, verify=verify)
        return qa

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
