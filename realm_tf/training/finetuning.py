"""Fine-tuning of a `RealmQA` on questions and answers, with `fit`."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.answer_matching import (
    BlockLists,
    find_answer_blocks,
)
from realm_tf.data.questions.questions import Question
from realm_tf.errors import MismatchError
from realm_tf.evaluation.calibration import Calibration
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
from realm_tf.training.finetune_work import (
    Arrays,
    FinetuneWork,
    NoWork,
    describe_run,
    random_seeds,
)
from realm_tf.training.lexical_weight import fit_lexical_weight
from realm_tf.training.multi_worker import check_parts, is_multi_worker
from realm_tf.training.out_of_memory import explain_out_of_memory
from realm_tf.training.stage_fitting import READER, RETRIEVER, StageFitting


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

    @property
    def figures(self) -> dict[str, list[float]]:
        """Figures of each epoch by names as `reader_loss`, `val_reader_loss`.

        Those of the retriever stage come first and have epochs of their own.
        """
        return {
            f"val_{stage}_{name[4:]}"
            if name.startswith("val_")
            else f"{stage}_{name}": values
            for stage, history in self.history.items()
            for name, values in history.items()
        }


def finetune(
    qa: QuestionAnswerer,
    corpus: Corpus,
    questions: Sequence[Question],
    options: FinetuneOptions | None = None,
    *,
    validation_data: Sequence[Question] = (),
    index_path: str | os.PathLike[str] | None = None,
    work: str | os.PathLike[str] | None = None,
    **fitting: Any,
) -> FinetuneReport:
    """Trains retriever and reader on questions with answers.

    1. *retriever*: one embedder for questions and blocks (or two, if `qa` has
       two) learns from the questions' blocks, with the other blocks of a batch
       as negatives, and blocks without an answer that the search of the
       untrained retriever, by embeddings and words, finds in the corpus.
    2. *index*: all blocks are embedded, and frozen from then on. The index of
       `qa` stays where it is of the same corpus and embedder, unless
       `index_path` is given.
    3. *words*: the weight of BM25 in the retrieval logit is fitted to
       `validation_data` or, without it, to a twentieth of the questions (500
       at most) that the first stage leaves out: of those that it was trained
       on, the embedder knows the blocks by heart. Fewer than 400 questions are
       all used for both.
    4. *reader*: the reader learns from ORQA's reader loss; with
       `train_query_embedder` the question embedder learns from both losses.
       Retrieval is at the start of every epoch.

    Args:
        qa: trained in place; answers from the new index afterwards.
        corpus: `Corpus` the questions are about.
        questions: sequence of `Question`. Where one names its passage and
            marks its answer, that is the label; otherwise any block with an
            answer is.
        options: `FinetuneOptions`.
        validation_data: questions that are scored after every epoch, in the
            same way as in training: `options.require_answer` skips questions
            without an answer in the corpus.
        index_path: folder of the new index; defaults to one in `work`, or to
            a temporary one.
        work: folder of the run, which the same call resumes, see
            `RealmQA.fit`.
        **fitting: of `StageFitting`, such as `callbacks` and `progress`.

    Returns:
        `FinetuneReport`.

    Raises:
        ValueError: if no answer is in the corpus, the loss is not finite, a
            batch has no equal parts for all replicas, or there are several
            hosts.
        MismatchError: if `work` is of another run, naming what differs.
        FolderError: if `work` is of something else, or damaged.
        LockedError: if another process uses `work`.
        MemoryError: if a step does not fit on the device.
    """
    strategy = qa.model.distribute_strategy
    if is_multi_worker(strategy):
        raise ValueError(
            "`finetune` must be used on one host, as Keras' `fit` trains on no "
            f"more. Received: strategy={type(strategy).__name__}. Make the "
            "model in the scope of a `MirroredStrategy`, or of none."
        )
    qa.calibration = Calibration()  # that of the weights before
    sets = [questions, *([validation_data] if validation_data else [])]
    options = options or FinetuneOptions()
    how = StageFitting(**fitting)
    if work is None:
        run = _Run(qa, corpus, options, how, NoWork())
        return run.finetune(sets, index_path)
    with FinetuneWork.begin(
        work,
        describe_run(qa, corpus, sets, options, how),
        random_seeds(qa),
        options.checkpoint_minutes,
    ) as begun:
        run = _Run(qa, corpus, options, how, begun)
        return run.finetune(sets, index_path or begun.path / "index")


# Questions that the weight of words is fitted to.
_SHARE_HELD_OUT, _LEAST_HELD_OUT, _MOST_HELD_OUT = 0.05, 20, 500

_NUM_MINED = 20  # blocks that hard negatives are drawn from

_Labeled = tuple[Sequence[Question], AnswerLabels]


class _Run:
    """One call of `finetune`."""

    def __init__(
        self,
        qa: QuestionAnswerer,
        corpus: Corpus,
        options: FinetuneOptions,
        fitting: StageFitting,
        work: FinetuneWork | NoWork,
    ):
        self.qa = qa
        self.corpus = corpus
        self.options = options
        self.fitting = fitting
        self.work = work
        self.strategy = qa.model.distribute_strategy
        self.num_replicas = self.strategy.num_replicas_in_sync
        self.seconds: dict[str, float] = {}
        self.history: dict[str, dict[str, list[float]]] = {}

    def finetune(
        self,
        sets: list[Sequence[Question]],
        index_path: str | os.PathLike[str] | None,
    ) -> FinetuneReport:
        labeled = self._timed("answers", lambda: self._label(sets))
        self._fit_projection()
        num_to_hold_out = len(sets[0]) if len(sets) == 1 else 0
        held_out = self._held_out(num_to_hold_out)
        if self.options.retriever_epochs:
            positives = self._timed(
                "positives", lambda: self._all_positives(labeled)
            )
            positives[0][held_out] = -1
            self._timed(
                RETRIEVER, lambda: self._train_retriever(labeled, positives)
            )
        self._timed("index", lambda: self._make_index(index_path))
        self._timed("words", lambda: self._fit_words(labeled[-1], held_out))
        num_left_out = self._timed(READER, lambda: self._train_reader(labeled))
        return FinetuneReport(
            seconds=self.seconds,
            history=self.history,
            num_questions=len(sets[0]) - num_left_out,
            num_left_out=num_left_out,
        )

    def _label(self, sets: list[Sequence[Question]]) -> list[_Labeled]:
        def label(stage: str, asked: Sequence[Question]) -> AnswerLabels:
            def find(corpus: Corpus, _: Sequence[Question]) -> BlockLists:
                kept = self.work.keep(
                    stage,
                    lambda: vars(find_answer_blocks(corpus, asked).by_text),
                )
                return BlockLists(**kept)

            return AnswerLabels(self.corpus, asked, self.qa.featurizer, find)

        stages = ("answers", "validation_answers")
        return [
            (asked, label(stage, asked))
            for stage, asked in zip(stages, sets, strict=False)
        ]

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = work()
        before = self.work.seconds.get(stage, 0.0)
        self.seconds[stage] = before + time.monotonic() - start
        return result

    def _fit_projection(self) -> None:
        """Keeps the projection: that of another process may be another."""
        qa = self.qa
        if qa.projection_fitted:
            return

        def fit() -> Arrays:
            qa.fit_projection(self.corpus)
            kernel, bias = qa.block_embedder.projection.get_weights()
            return {"kernel": kernel, "bias": bias}

        kept = self.work.keep("projection", fit)
        for embedder in (qa.query_embedder, qa.block_embedder):
            embedder.projection.set_weights([kept["kernel"], kept["bias"]])
        qa.projection_fitted = True

    def _make_index(self, path: str | os.PathLike[str] | None) -> None:
        """Builds the index, or opens the one that an earlier run built."""

        def build() -> Arrays:
            self._build_index("index", path)
            fingerprint = self.qa.require_index().fingerprint
            return {"fingerprint": np.array(fingerprint)}

        def check(kept: Arrays) -> None:
            assert path is not None  # where something is kept
            index = self.qa.open_index(path, self.corpus)
            if index.fingerprint != str(kept["fingerprint"]):
                raise MismatchError(
                    f"{path} is another index than the one of this training."
                )

        self.work.keep("index", build, check)

    def _build_index(
        self, stage: str, path: str | os.PathLike[str] | None = None
    ) -> None:
        """Embeds the corpus, unless the model's index is of it already."""
        if path is None and self._has_index():
            return
        report = self.fitting.begin(stage)
        self.qa.build_index(
            self.corpus,
            path,
            progress=lambda _, *done: report(stage, *done),
        )

    def _has_index(self) -> bool:
        index = self.qa.index
        return index is not None and (
            index.corpus.fingerprint == self.corpus.fingerprint
            and index.embedder_fingerprint == self.qa.embedder_fingerprint
        )

    def _held_out(self, num_questions: int) -> np.ndarray:
        """Questions that the retriever does not learn from, but w does."""
        count = min(_MOST_HELD_OUT, int(_SHARE_HELD_OUT * num_questions))
        if count < _LEAST_HELD_OUT:
            count = 0
        rng = np.random.default_rng(self.options.seed)
        return rng.permutation(num_questions)[:count]

    def _fit_words(self, labeled: _Labeled, held_out: np.ndarray) -> None:
        def fit() -> Arrays:
            self._fit_lexical_weight(labeled, held_out)
            return {"lexical_weight": np.array(self.qa.lexical_weight)}

        kept = self.work.keep("words", fit)
        self.qa.lexical_weight = float(kept["lexical_weight"])

    def _fit_lexical_weight(
        self, labeled: _Labeled, held_out: np.ndarray
    ) -> None:
        if self.qa.official or not self.qa.require_index().has_words:
            return
        questions, labels = labeled
        chosen = held_out if len(held_out) else range(len(questions))
        self.qa.lexical_weight = fit_lexical_weight(
            self.qa,
            [questions[i].question for i in chosen],
            [labels.question(i) for i in chosen],
            seed=self.options.seed,
        )

    def _all_positives(self, labeled: list[_Labeled]) -> list[np.ndarray]:
        kept = self.work.keep(
            "positives",
            lambda: {f"{i}": self._positives(s) for i, s in enumerate(labeled)},
        )
        return list(kept.values())

    def _positives(self, labeled: _Labeled) -> np.ndarray:
        """The block each question should find; -1 = none.

        A marked place is taken as it is. Otherwise the search of the
        untrained retriever chooses among the blocks with an answer.
        """
        questions, labels = labeled
        known = [labels.question(i) for i in range(len(questions))]
        positives = np.array([_first(label.gold) for label in known])
        unmarked = [
            i
            for i, label in enumerate(known)
            if len(label.gold) > 1 and not label.marks
        ]
        if unmarked:
            found = self._search_before(
                [questions[i].question for i in unmarked],
                self.options.num_retrieved,
            )
            for i, block_ids in zip(unmarked, found, strict=True):
                ranked = block_ids[np.isin(block_ids, known[i].gold)]
                # Without one among the best, an answer is there by chance.
                positives[i] = _first(ranked)
        return positives

    def _search_before(self, texts: list[str], k: int) -> np.ndarray:
        """Block ids that the retriever finds before it is trained."""
        self._build_index("positives")
        k = min(k, self.corpus.num_blocks)
        found = self.qa.search(texts, k).block_ids
        # Documents that were added to the index are not of the corpus.
        known = found < self.corpus.num_blocks
        return np.where(known, found, MISSING_BLOCK_ID)

    def _hard_negatives(
        self, labeled: list[_Labeled]
    ) -> Sequence[np.ndarray | None]:
        """The best blocks of each question; the dataset drops the right."""
        if not self.options.num_negatives:
            return [None] * len(labeled)

        def mine(questions: Sequence[Question]) -> np.ndarray:
            texts = [question.question for question in questions]
            return self._search_before(texts, _NUM_MINED)

        kept = self.work.keep(
            "negatives",
            lambda: {
                f"{i}": mine(asked) for i, (asked, _) in enumerate(labeled)
            },
        )
        return list(kept.values())

    def _train_retriever(
        self, labeled: list[_Labeled], positives: list[np.ndarray]
    ) -> None:
        options = self.options
        data, validation_data = _pair(
            RetrieverDataset(
                questions,
                found,
                labels,
                self.corpus,
                self.qa.featurizer,
                batch_size=options.retriever_batch_size,
                hard_negatives=mined,
                num_negatives=options.num_negatives,
                reshuffle=questions is labeled[0][0],
                seed=options.seed,
            )
            for (questions, labels), found, mined in zip(
                labeled, positives, self._hard_negatives(labeled), strict=True
            )
        )
        with self.strategy.scope():
            model = DualEncoder(self.qa.block_embedder, self.qa.query_embedder)
        with self._tables_frozen(model.embedder, model.query_embedder):
            # The stage is not in the original, whose schedule would warm up
            # for 100 steps at least.
            steps = data.num_batches * options.retriever_epochs
            schedule = WarmupLinearDecay(
                options.retriever_learning_rate, max(steps, 1), steps // 10
            )
            with self.strategy.scope():
                model.compile(
                    optimizer=self.fitting.stage_optimizer(RETRIEVER)
                    or BertAdamW(schedule),
                    loss=InBatchLoss(),
                    jit_compile=self.fitting.jit_compile,
                )
            self._fit(RETRIEVER, model, data, validation_data)

    def _train_reader(self, labeled: list[_Labeled]) -> int:
        options = self.options
        if options.train_query_embedder:
            with self.strategy.scope():
                self.qa.separate_embedders()
        data, validation_data = _pair(
            ReadingDataset(
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
                    # A smaller batch would have unequal parts for replicas.
                    drop_remainder=questions is labeled[0][0]
                    or self.num_replicas > 1,
                    seed=options.seed,
                ),
                lambda: self.qa.lexical_weight,
            )
            for questions, labels in labeled
        )
        query_embedder = self.qa.query_embedder
        with (
            self._tables_frozen(query_embedder, self.qa.reader),
            _trainable(query_embedder, options.train_query_embedder),
        ):
            with self.strategy.scope():
                compile_open_qa(
                    self.qa.model,
                    options.learning_rate,
                    num_train_steps=data.num_batches * options.epochs,
                    optimizer=self.fitting.stage_optimizer(READER),
                    jit_compile=self.fitting.jit_compile,
                )
            self._fit(READER, self.qa.model, data, validation_data)
        return data.num_left_out

    @contextlib.contextmanager
    def _tables_frozen(self, *layers: Any) -> Iterator[None]:
        """Freezes the word embedding tables, unless they are trained."""
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
        self, stage: str, model: keras.Model, data: Any, validation_data: Any
    ) -> None:
        epochs = self.options.epochs
        if stage == RETRIEVER:
            epochs = self.options.retriever_epochs
        if not epochs:
            return
        check_parts(data.batch_size, self.num_replicas)
        with explain_out_of_memory(self._sizes(stage)):
            checkpoints = self.work.checkpoints(stage)
            self.history[stage] = self.fitting.fit(
                stage, model, data, validation_data, epochs, checkpoints
            )
        if checkpoints is not None:
            self.work.seconds[stage] = checkpoints.seconds

    def _sizes(self, stage: str) -> dict[str, int]:
        options, featurizer = self.options, self.qa.featurizer
        if stage == RETRIEVER:
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
    model: OpenQA,
    learning_rate: float,
    *,
    num_train_steps: int,
    optimizer: keras.optimizers.Optimizer | None = None,
    jit_compile: bool | str = "auto",
) -> None:
    """Compiles an `OpenQA` with ORQA's losses, optimizer and metrics.

    Args:
        model: `OpenQA`.
        learning_rate: peak, after a tenth of the steps, but 100 steps at
            least and 10,000 at most.
        num_train_steps: the learning rate is 0 after them.
        optimizer: in place of ORQA's and its learning rate.
        jit_compile: see `keras.Model.compile`.
    """
    schedule = WarmupLinearDecay(learning_rate, max(num_train_steps, 1))
    model.compile(
        optimizer=optimizer or BertAdamW(schedule),
        jit_compile=jit_compile,
        loss={RETRIEVAL: MarginalLoss(), READING: MarginalLoss()},
        metrics={
            RETRIEVAL: [AnswerRecallAtK(5)],
            READING: [exact_match, reader_oracle],
        },
    )


@contextlib.contextmanager
def _trainable(layer: keras.layers.Layer, trainable: bool) -> Iterator[None]:
    """Freezes a layer for a while, unless it is `trainable`."""
    frozen = [] if trainable else layer.trainable_variables
    for variable in frozen:
        variable.trainable = False
    try:
        yield
    finally:
        for variable in frozen:
            variable.trainable = True


def _pair(data: Iterable[Any]) -> tuple[Any, Any]:
    """Data to train on and, if there is any, to validate with."""
    train, *validation = data
    return train, validation[0] if validation else None


def _first(block_ids: np.ndarray) -> int:
    return int(block_ids[0]) if len(block_ids) else -1
