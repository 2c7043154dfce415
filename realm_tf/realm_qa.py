"""RealmQA: questions in, answers with their evidence out."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from realm_tf.checkpoints import named_presets
from realm_tf.checkpoints.loading import Source, load_parts
from realm_tf.checkpoints.presets import CORPUS_NAME, INDEX_NAME, has_index
from realm_tf.data.corpus.answer import Answer
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.question_sources import (
    QuestionSource,
    as_questions,
)
from realm_tf.data.questions.question_texts import check_questions
from realm_tf.evaluation.evaluator import evaluate
from realm_tf.evaluation.ranking import KS
from realm_tf.evaluation.retrieval import evaluate_retrieval
from realm_tf.models.calibration_fitting import (
    CalibrationReport,
    fit_calibration,
)
from realm_tf.models.index_building import Documents, open_corpus
from realm_tf.models.keras_display import print_line, progress_bar
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.models.summary import describe
from realm_tf.options import ExportOptions, FinetuneOptions
from realm_tf.serving.bundle import Bundle
from realm_tf.serving.export.exporter import export
from realm_tf.training.finetuning import FinetuneReport, finetune
from realm_tf.training.pretraining_tasks import pretrain_task
from realm_tf.training.stage_fitting import (
    Progress,
    StageFitting,
)


class RealmQA(QuestionAnswerer):
    """Answers questions from a corpus: retriever, reader and index together.

    Start from a preset or from any BERT (`from_preset`), index documents
    (`build_index`), ask, and train it with questions (`fit`).

    Args:
        featurizer: `Featurizer`.
        query_embedder: `Embedder` of questions.
        block_embedder: `Embedder` of blocks; the same object while the two
            share weights.
        reader: `SpanReader`.
        num_read: blocks that are read for a question. Defaults to 5 (the ORQA
            code); another number can be asked for with each question.
        lexical_weight: w of the search, f(x, z) = e(x) . e(z) + w bm25(x, z).
            Defaults to 0, embeddings alone, as published; `fit` learns it.
        projection_fitted: `False` if the projection of a mean-pooled
            `block_embedder` is still to be fitted to the first corpus.
        official: answer as the ORQA code does, to compare with published
            figures; see `docs/parity.md`. No alternatives and no offsets then.
        encoder: `KnowledgeAugmentedEncoder`, which pre-training goes on with.
        calibration: `Calibration` of the answers, or its fields. Defaults to
            none: temperature 1, threshold 0.

    Raises:
        ValueError: if a length is beyond what a backbone was made for.

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

    _compiled: Mapping[str, Any] = {}

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
                - a BERT in the Hugging Face layout, from whose backbone
                  embedder and reader start, to be trained. The embedder of
                  sentence-transformers is the one that was trained: its
                  pooling, `Dense`, `Normalize`, prompts and length are read.
                  With another `embedding_dim`, its projection is fitted by
                  PCA to the first corpus that is indexed;
                - a published checkpoint of REALM, ORQA or BERT, see
                  `realm_tf.checkpoints.load`, or a list of several with
                  different parts, such as an embedder and an encoder.

                Where it is: a folder, `hf://owner/name`, or an address that
                `tf.io.gfile` reads, such as `gs://...`.
            **options: `dtype`, the dtype policy of the backbones (default:
                Keras' global one), and `dropout`, the rate in training
                (default: what was saved, or 0). Others belong to one kind:

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
            verify = options.get("verify") is not False
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
        return export(self.parts, self.index, folder, ExportOptions(**options))

    def compile(
        self, optimizer: Any = None, *, jit_compile: bool | str = "auto"
    ) -> None:
        """Says how `fit` trains; without it, as published.

        Args:
            optimizer: of both stages of `fit`, each of which gets a copy with
                a state of its own: a `keras.optimizers.Optimizer` or its name.
                Or a dict with one for "retriever", one for "reader", or both.
                Its learning rate takes the place of those of
                `FinetuneOptions`. Defaults to `BertAdamW`, with a warm-up.
            jit_compile: compile the steps of both stages with XLA, see
                `keras.Model.compile`. Batches differ in length, and every
                length is compiled by itself.

        Raises:
            ValueError: if `optimizer` is unknown, or of an unknown stage.
        """
        StageFitting(optimizer)
        self._compiled = {"optimizer": optimizer, "jit_compile": jit_compile}

    def fit(
        self,
        questions: QuestionSource,
        corpus: Documents | None = None,
        *,
        validation_data: QuestionSource | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        options: FinetuneOptions | None = None,
        index_path: str | os.PathLike[str] | None = None,
        work: str | os.PathLike[str] | None = None,
        strategy: tf.distribute.Strategy | None = None,
        verbose: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        progress: Progress | None = None,
    ) -> "FitHistory":
        """Trains retriever and reader on questions with answers.

        1. *retriever*: the embedder learns to bring questions to their blocks.
        2. *index*: all blocks are embedded anew, and the weight of words in
           the search (`lexical_weight`) is fitted to `validation_data`, or to
           some questions that the first stage leaves out.
        3. *reader*: the reader learns to find the answers in the blocks that
           are retrieved. Questions are answered from the new index afterwards.

        Args:
            questions: `Question`s, dicts or pairs of question and answers, in
                a list or a `tf.data.Dataset`, or the path of a file; see
                `as_questions`.
            corpus: what the questions are about, see `build_index`. Defaults
                to the corpus of the index.
            validation_data: questions as above, which are scored after every
                epoch of both stages, the way they would be trained on: among
                the blocks of a batch, and where a right block was read. Figures
                of whole answers come from `evaluate`.
            epochs: number of epochs of the reader stage; defaults to that of
                `options`.
            batch_size: questions in a batch of the reader stage; defaults to
                that of `options`.
            options: `FinetuneOptions`, of both stages.
            index_path: folder of the new index; a new version is added to one
                that exists. Defaults to `index` in `work`, or to a temporary
                folder that lives as long as the index.
            work: folder of the run: results of stages, checkpoints, index. The
                same calls, from `from_preset` on, resume a run that was
                stopped, at the step of the newest checkpoint, and end with the
                same weights. Call `keras.utils.set_random_seed` before
                `from_preset` where parts of the model are new. Callbacks begin
                anew. Defaults to none: a run that is stopped is lost.
            strategy: `tf.distribute.Strategy` of one host, to which the model
                is moved. Not needed if it was made in the scope of one.
            verbose: 0 = silent, 1 = progress bar, 2 = one line per epoch;
                "auto" is 1.
            callbacks: Keras callbacks, in both stages. Figures have the names
                they have in a stage, such as "val_loss".
            progress: called at every step with the name of the stage, steps
                done, steps in all and figures; for a display of your own.

        Returns:
            `keras.callbacks.History`. Its `history` has the figures of each
            epoch under `reader_loss`, `val_reader_loss`,
            `reader_reading_exact_match`, `retriever_loss` and so on; the two
            stages have epochs of their own. Its `report` has more, see
            `FinetuneReport`.

        Raises:
            ValueError: if there is neither a corpus nor an index, no answer is
                in the corpus, the loss is not finite, or a batch has no equal
                parts for all replicas.
            MismatchError: if `work` is of other options, questions, start
                weights or of another corpus, naming what differs.
            FolderError: if `work` is of something else, or damaged.
            LockedError: if another process uses `work`.
            MemoryError: if a step does not fit on the device.

        Example:
        ```python
        qa = RealmQA.from_preset("all-MiniLM-L6-v2")
        qa.build_index([("Emma", "Emma is a novel by Jane Austen.")])
        qa.fit([("Who wrote Emma?", "Jane Austen")], epochs=2)
        ```
        """
        asked = as_questions(questions)
        validation = []
        if validation_data is not None:
            validation = as_questions(validation_data)
        changes: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size}
        options = dataclasses.replace(
            options or FinetuneOptions(),
            **{k: v for k, v in changes.items() if v is not None},
        )
        if corpus is None:
            corpus = self.require_index().whole_corpus()
        if strategy is not None:
            self.move_to(strategy)
        report = finetune(
            self,
            open_corpus(corpus, index_path, self.featurizer),
            asked,
            options,
            validation_data=validation,
            index_path=index_path,
            work=work,
            verbose=verbose,
            callbacks=callbacks,
            progress=progress,
            **self._compiled,
        )
        return FitHistory(report)

    def pretrain(
        self,
        corpus: Documents,
        work: str | os.PathLike[str],
        task: str,
        *,
        verbose: int | str = "auto",
        **options: Any,
    ) -> keras.callbacks.History:
        """Trains without questions, from text alone.

        - "inverse_cloze": the embedder learns to find the block that a
          sentence was taken from (ICT).
        - "masked_words": embedder and encoder learn to predict masked words
          through the blocks that are retrieved (REALM). The index is refreshed
          in between, and the reader gets the encoder's backbone.

        The same call resumes a run that was stopped. Call `build_index`
        afterwards: an earlier index no longer belongs to the model.

        Args:
            corpus: what is read and searched, see `build_index`.
            work: folder of the run: checkpoints, figures and index.
            task: "inverse_cloze" or "masked_words"; one after the other in
                the original.
            verbose: 0 = silent, 1 = progress bar, 2 = one line at the end;
                "auto" is 1.
            **options: `callbacks` and `progress`; those of `TrainingOptions`,
                such as `num_steps` and `learning_rate`; those of the data
                (`InverseClozeOptions`, `MaskedSentenceOptions`), such as
                `batch_size`; those of `pretrain_inverse_cloze` and
                `pretrain_masked_words`, such as `probe` and `every_n_steps`.
                `masks` of "masked_words" are `SentenceMasks` or a kind of
                them, see `make_masks`. Default: "salient", those of the
                corpus; dates and numbers, where it has none yet.

        Returns:
            `keras.callbacks.History`: `history` has the figures that were
            logged, `epoch` their steps.

        Raises:
            ValueError: if there is no such task, an option has a bad value,
                or the loss is not finite.
            TypeError: if the task does not know an option.
            MemoryError: if a step does not fit on the device.

        Example:
        ```python
        qa = RealmQA.from_preset("bert-base-uncased")
        qa.pretrain("passages.jsonl", "ict", "inverse_cloze", batch_size=64)
        qa.pretrain("passages.jsonl", "mlm", "masked_words", batch_size=16)
        qa.save_to_preset("pretrained")
        ```
        """
        options.setdefault("progress", progress_bar(verbose, "step"))
        opened = open_corpus(corpus, None, self.featurizer)
        self.index = None
        return pretrain_task(self, opened, work, task, **options)

    def evaluate(
        self,
        questions: QuestionSource,
        *,
        batch_size: int = 32,
        num_read: int | None = None,
        ks: Sequence[int] = (1, 5, 20),
        verbose: int | str = "auto",
        return_dict: bool = True,
        progress: Progress | None = None,
    ) -> Any:
        """Answers questions and scores the answers as the literature does.

        Args:
            questions: see `fit`.
            batch_size: questions that are answered together.
            num_read: blocks that are read; defaults to `self.num_read`.
            ks: cut-offs of recall; as many blocks are retrieved.
            verbose: 0 = silent, 1 = progress bar, 2 = one line at the end;
                "auto" is 1.
            return_dict: `False` returns the `Report`, which also has the score
                of every question.
            progress: see `realm_tf._progress.Progress`; for a display of your
                own.

        Returns:
            dict: `exact_match`, `f1`, `answer_recall_at_5` and the others of
            `Report`, and those of `Confidence`, such as
            `expected_calibration_error`; shares are between 0 and 1.

        Raises:
            ValueError: if there is no question or no index.
        """
        asked = as_questions(questions)
        num_read = self.num_read if num_read is None else num_read
        show = progress or progress_bar(verbose, "question")
        num_done = 0

        def predict(texts: list[str]) -> list[Answer]:
            answers = self.predict(
                texts,
                num_read=num_read,
                num_retrieved=max(num_read, *ks),
                num_alternatives=0,
            )
            nonlocal num_done
            num_done += len(answers)
            show("questions", num_done, len(asked), {})
            return answers

        report = evaluate(predict, asked, ks=ks, batch_size=batch_size)
        return report.to_json() if return_dict else report

    def evaluate_retrieval(
        self,
        questions: QuestionSource,
        *,
        features: Sequence[str] | None = None,
        ks: Sequence[int] = KS,
        batch_size: int = 32,
        verbose: int | str = "auto",
        return_dict: bool = True,
        progress: Progress | None = None,
    ) -> Any:
        """Scores the search alone, as the literature on retrieval does.

        Documents are ranked by their best blocks and compared with the known
        passages of the questions, whose graded relevance counts for nDCG.

        Args:
            questions: see `fit`; also the folder of a BEIR set. Those without
                known passages are left out.
            features: what blocks are compared by: "embeddings", "words" (BM25
                alone, with the analyzer of the index), "both", with
                `lexical_weight`. Defaults to all that the index and the model
                have.
            ks: cut-offs of recall; as many documents are ranked, 10 at least.
            batch_size: questions that are embedded together.
            verbose: 0 = silent, 1 = progress bar, 2 = one line at the end;
                "auto" is 1.
            return_dict: `False` returns the `RetrievalReport`, which also has
                the runs and the measures of every question.
            progress: see `evaluate`.

        Returns:
            dict: of each of the features, `ndcg_at_10`,
            `mean_average_precision`, `mean_reciprocal_rank`, `recall_at_5` and
            the others of `RankingReport`.

        Raises:
            ImportError: if ir-measures is not installed.
            ValueError: if no question has a known passage, two have the same
                id, or there is no index.
        """
        report = evaluate_retrieval(
            self.require_index(),
            lambda texts: (
                self.engine.embed_questions(check_questions(texts)).embeddings
            ),
            as_questions(questions),
            features=features,
            lexical_weight=self.lexical_weight,
            ks=ks,
            batch_size=batch_size,
            progress=progress or progress_bar(verbose, "question"),
        )
        return report.to_json()["rankings"] if return_dict else report

    def calibrate(
        self,
        questions: QuestionSource,
        *,
        num_read: int | None = None,
        batch_size: int = 32,
        verbose: int | str = "auto",
        progress: Progress | None = None,
    ) -> CalibrationReport:
        """Makes probabilities say how often answers are right.

        Chooses a temperature by the likelihood of right and wrong answers to
        the questions that have one, and the threshold of `Answer.found` by the
        F1 of the answers that are given. Both are in `calibration`, which
        presets and exports keep and training takes back.

        Args:
            questions: see `fit`; such that were not trained on, some hundred
                at least. With some that have no answer, the model also learns
                to say so.
            num_read: blocks that are read; defaults to `self.num_read`.
            batch_size: questions that are answered together.
            verbose: 0 = silent, 1 = progress bar, 2 = one line at the end;
                "auto" is 1.
            progress: see `evaluate`.

        Returns:
            `CalibrationReport`: the figures before and after.

        Raises:
            ValueError: if no question has an answer, the model is `official`,
                or there is no index.

        Example:
        ```python
        report = qa.calibrate("dev.jsonl")
        report.after.expected_calibration_error
        qa.save_to_preset("calibrated", include_corpus=True)
        ```
        """
        report = fit_calibration(
            self,
            as_questions(questions),
            num_read=self.num_read if num_read is None else num_read,
            batch_size=batch_size,
            progress=progress or progress_bar(verbose, "question"),
        )
        self.calibration = report.calibration
        return report

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints what the model is made of, in a few lines.

        Args:
            print_fn: in place of Keras' printing.
        """
        (print_fn or print_line)(describe(self))


class FitHistory(keras.callbacks.History):
    """What `RealmQA.fit` returns.

    Attributes:
        history: figures of each epoch by their names.
        report: `FinetuneReport`: also seconds, and questions left out.
    """

    def __init__(self, report: FinetuneReport):
        super().__init__()
        self.report = report
        self.history = report.figures
        self.epoch = list(
            range(max(map(len, self.history.values()), default=0))
        )
