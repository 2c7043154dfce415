"""Fine-tuning of a `RealmQA` on questions and answers, with `fit`."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from realm_tf._progress import Progress, no_progress
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.losses.in_batch_loss import InBatchLoss
from realm_tf.losses.marginal_loss import MarginalLoss
from realm_tf.metrics.open_qa_metrics import (
    AnswerRecallAtK,
    exact_match,
    reader_oracle,
)
from realm_tf.models.dual_encoder import DualEncoder
from realm_tf.models.open_qa import READING, RETRIEVAL, OpenQA
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay
from realm_tf.options import FinetuneOptions, ReadingOptions
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.datasets.reading_dataset import ReadingDataset
from realm_tf.training.datasets.retriever_dataset import RetrieverDataset
from realm_tf.training.multi_worker import check_parts, is_multi_worker
from realm_tf.training.out_of_memory import explain_out_of_memory
from realm_tf.training.progress_callback import ProgressCallback


@dataclasses.dataclass(frozen=True)
class FinetuneReport:
    """What a fine-tuning did.

    Args:
        seconds: of each stage.
        history: of each stage with training, the figures of each epoch.
        num_questions: questions that were trained on.
        num_left_out: questions whose answer is in no block.
    """

    seconds: dict[str, float]
    history: dict[str, dict[str, list[float]]]
    num_questions: int
    num_left_out: int


def finetune(
    qa: QuestionAnswerer,
    corpus: Corpus,
    questions: Sequence[Question],
    options: FinetuneOptions | None = None,
    *,
    index_path: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress = no_progress,
) -> FinetuneReport:
    """Trains retriever and reader on questions with answers.

    1. *retriever*: one embedder for questions and blocks (or two, if `qa` has
       two) learns from the questions' blocks, with the other blocks of a batch
       as negatives.
    2. *index*: all blocks are embedded; from now on they stay as they are.
    3. *reader*: the reader learns from ORQA's reader loss; with
       `train_query_embedder` the question embedder learns from both losses.
       Retrieval is at the start of every epoch.

    Args:
        qa: trained in place; answers from the new index afterwards.
        corpus: `Corpus` the questions are about.
        questions: sequence of `Question`. Where one names its passage and
            marks its answer, that is the label; otherwise any block with an
            answer is.
        options: `FinetuneOptions`.
        index_path: folder of the new index; defaults to a temporary one.
        callbacks: of `fit`, in both stages.
        progress: see `Progress`.

    Returns:
        `FinetuneReport`.

    Raises:
        ValueError: if no answer is in the corpus, the loss is not finite, a
            batch has no equal parts for all replicas, or there are several
            hosts.
        MemoryError: if a step does not fit on the device.
    """
    strategy = qa.model.distribute_strategy
    if is_multi_worker(strategy):
        raise ValueError(
            "`finetune` must be used on one host, as Keras' `fit` trains on no "
            f"more. Received: strategy={type(strategy).__name__}. Make the "
            "model in the scope of a `MirroredStrategy`, or of none."
        )
    run = _Run(qa, corpus, options or FinetuneOptions(), callbacks, progress)
    return run.finetune(questions, index_path)


class _Run:
    """One call of `finetune`."""

    def __init__(
        self,
        qa: QuestionAnswerer,
        corpus: Corpus,
        options: FinetuneOptions,
        callbacks: Sequence[keras.callbacks.Callback],
        progress: Progress,
    ):
        self.qa = qa
        self.corpus = corpus
        self.options = options
        self.callbacks = list(callbacks)
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.history: dict[str, dict[str, list[float]]] = {}

    def finetune(
        self,
        questions: Sequence[Question],
        index_path: str | os.PathLike[str] | None,
    ) -> FinetuneReport:
        labels = self._timed(
            "answers",
            lambda: AnswerLabels(self.corpus, questions, self.qa.featurizer),
        )
        if self.options.retriever_epochs:
            positives = self._timed(
                "positives", lambda: self._positives(questions, labels)
            )
            self._timed(
                "retriever",
                lambda: self._train_retriever(questions, positives),
            )
        self._timed("index", lambda: self._build_index(index_path))
        num_left_out = self._timed(
            "reader", lambda: self._train_reader(questions, labels)
        )
        return FinetuneReport(
            seconds=self.seconds,
            history=self.history,
            num_questions=len(questions) - num_left_out,
            num_left_out=num_left_out,
        )

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = work()
        self.seconds[stage] = time.monotonic() - start
        return result

    def _build_index(
        self, path: str | os.PathLike[str] | None, stage: str = "index"
    ) -> None:
        self.qa.build_index(
            self.corpus,
            path,
            progress=lambda _, *done: self.progress(stage, *done),
        )

    def _positives(
        self, questions: Sequence[Question], labels: AnswerLabels
    ) -> np.ndarray:
        """The block each question should find; -1 = none.

        A marked place is taken as it is. Otherwise the search of the
        untrained retriever chooses among the blocks with an answer.
        """
        known = [labels.question(i) for i in range(len(questions))]
        positives = np.array([_first(label.gold) for label in known])
        unmarked = [
            i
            for i, label in enumerate(known)
            if len(label.gold) > 1 and not label.marks
        ]
        if unmarked:
            self._build_index(None, "positives")
            found = self.qa.search(
                [questions[i].question for i in unmarked],
                min(self.options.num_retrieved, self.corpus.num_blocks),
            ).block_ids
            for i, block_ids in zip(unmarked, found, strict=True):
                ranked = block_ids[np.isin(block_ids, known[i].gold)]
                # Without one among the best, an answer is there by chance.
                positives[i] = _first(ranked)
        return positives

    def _train_retriever(
        self, questions: Sequence[Question], positives: np.ndarray
    ) -> None:
        options = self.options
        self.qa.fit_projection(self.corpus)
        data = RetrieverDataset(
            questions,
            positives,
            self.corpus,
            self.qa.featurizer,
            batch_size=options.retriever_batch_size,
            seed=options.seed,
        )
        model = DualEncoder(self.qa.block_embedder, self.qa.query_embedder)
        with self._tables_frozen(model.embedder, model.query_embedder):
            # The stage is not in the original, whose schedule would warm up
            # for 100 steps at least.
            steps = data.num_batches * options.retriever_epochs
            schedule = WarmupLinearDecay(
                options.retriever_learning_rate, max(steps, 1), steps // 10
            )
            model.compile(
                optimizer=BertAdamW(schedule),
                loss=InBatchLoss(),
            )
            self._fit("retriever", model, data, options.retriever_epochs)

    def _train_reader(
        self, questions: Sequence[Question], labels: AnswerLabels
    ) -> int:
        options = self.options
        if options.train_query_embedder:
            self.qa.separate_embedders()
        data = ReadingDataset(
            questions,
            labels,
            self.qa.require_index(),
            self.qa.question_embedding,
            ReadingOptions(
                batch_size=options.batch_size,
                num_retrieved=options.num_retrieved,
                num_read=options.num_read,
                max_span_width=self.qa.reader.max_span_width,
                require_answer=options.require_answer,
                seed=options.seed,
            ),
        )
        query_embedder = self.qa.query_embedder
        with (
            self._tables_frozen(query_embedder, self.qa.reader),
            _trainable(query_embedder, options.train_query_embedder),
        ):
            compile_open_qa(
                self.qa.model,
                options.learning_rate,
                num_train_steps=data.num_batches * options.epochs,
            )
            self._fit("reader", self.qa.model, data, options.epochs)
        return data.num_left_out

    @contextlib.contextmanager
    def _tables_frozen(self, *layers: Any) -> Iterator[None]:
        """Keeps the tables of wordpieces from learning, unless they shall."""
        with contextlib.ExitStack() as stack:
            for layer in layers:
                stack.enter_context(
                    _trainable(
                        layer.backbone.token_embedding,
                        self.options.train_token_embeddings,
                    )
                )
            yield

    def _fit(
        self,
        stage: str,
        model: keras.Model,
        data: RetrieverDataset | ReadingDataset,
        epochs: int,
    ) -> None:
        if not epochs:
            return
        strategy = model.distribute_strategy
        check_parts(data.batch_size, strategy.num_replicas_in_sync)
        report = _Reporter(stage, data.num_batches * epochs, self.progress)
        with explain_out_of_memory(self._sizes(stage)):
            history = model.fit(
                data.as_dataset(),
                epochs=epochs,
                shuffle=False,  # The data has another order in every epoch.
                verbose=0,
                callbacks=[report, *self.callbacks],
            )
        self.history[stage] = history.history

    def _sizes(self, stage: str) -> dict[str, int]:
        options, featurizer = self.options, self.qa.featurizer
        if stage == "retriever":
            return {
                "retriever_batch_size": options.retriever_batch_size,
                "block_length": featurizer.block_length,
            }
        return {
            "batch_size": options.batch_size,
            "num_read": options.num_read,
            "joint_length": featurizer.joint_length,
        }


def compile_open_qa(
    model: OpenQA, learning_rate: float, *, num_train_steps: int
) -> None:
    """Compiles `RealmQA.model` with ORQA's losses, optimizer and metrics.

    Args:
        model: `OpenQA`.
        learning_rate: peak, after a tenth of the steps, but 100 steps at
            least and 10,000 at most.
        num_train_steps: the learning rate is 0 after them.
    """
    schedule = WarmupLinearDecay(learning_rate, max(num_train_steps, 1))
    model.compile(
        optimizer=BertAdamW(schedule),
        loss={RETRIEVAL: MarginalLoss(), READING: MarginalLoss()},
        metrics={
            RETRIEVAL: [AnswerRecallAtK(5)],
            READING: [exact_match, reader_oracle],
        },
    )


@contextlib.contextmanager
def _trainable(layer: keras.layers.Layer, trainable: bool) -> Iterator[None]:
    """Lets a layer learn or not, and puts all its parts back afterwards."""
    parts = [layer, *layer._flatten_layers(include_self=False)]
    before = [part.trainable for part in parts]
    if not trainable:
        layer.trainable = False
    try:
        yield
    finally:
        for part, was_trainable in zip(parts, before, strict=True):
            part.trainable = was_trainable


class _Reporter(ProgressCallback):
    """Stops where figures are no longer numbers."""

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        super().on_train_batch_end(batch, logs)
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise ValueError(
                "The loss must be finite. Received: "
                f"loss={loss} at step {self.step} of the {self.stage}. "
                "Lower the learning rate, or train in float32."
            )


def _first(block_ids: np.ndarray) -> int:
    return int(block_ids[0]) if len(block_ids) else -1
