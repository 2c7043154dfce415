"""Probes: recall and examples during a training."""

import pathlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from realm_tf._files import replace_file
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.recall import contains_answer
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.refresh.index_follower import IndexFollower, Retrieval
from realm_tf.training.step_callback import StepCallback

_KS = (1, 5, 20)
_HEADING = re.compile(r"^## Step (\d+)$", re.MULTILINE)


class FreshIndex:
    """Embeds all blocks whenever it is asked; for stages without an index.

    Args:
        qa: `QuestionAnswerer` whose embedders train.
        corpus: `Corpus` to embed.
    """

    def __init__(self, qa: QuestionAnswerer, corpus: Corpus):
        self.qa = qa
        self.corpus = corpus
        self._folder = tempfile.mkdtemp(prefix="realm_tf-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def acquire(self, step: int) -> Retrieval:
        """An index of the current weights."""
        index = BlockIndex.build(
            self._folder,
            self.corpus,
            self.qa.block_embedding.corpus(self.corpus),
            embedder_fingerprint=self.qa.embedder_fingerprint,
            analyzer=None,
        )
        return Retrieval(index, self.qa.question_embedding, step)


class RecallProbe(StepCallback):
    """Asks questions that are never trained on, and adds recall to the figures.

    A question that names its passage has found it if a block of the passage is
    among the best k; another, if one of these holds an answer. Figures are
    those of the index in use, and of the embedder that belongs to it.

    Args:
        follower: `IndexFollower` of the probe's own, or `FreshIndex`.
        questions: sequence of `Question`.
        every_n_steps: between probes; one is made after the first step, too,
            whose learning rate is 0 if there is a warm-up.
        num_steps: last step, which has one, too; None if it needs none.
    """

    def __init__(
        self,
        follower: IndexFollower | FreshIndex,
        questions: Sequence[Question],
        every_n_steps: int = 500,
        num_steps: int | None = None,
    ):
        super().__init__()
        self.follower = follower
        self.questions = list(questions)
        self.every_n_steps = every_n_steps
        self.num_steps = num_steps
        self.figures: dict[str, float] = {}

    def go_on(self, step: int, figures: dict[str, float]) -> None:
        super().go_on(step, figures)
        names = (f"recall_at_{k}" for k in _KS)
        self.figures = {n: figures[n] for n in names if n in figures}

    def on_step(self, logs: dict[str, float]) -> None:
        is_last = self.step == self.num_steps
        if self.step % self.every_n_steps == 0 or is_last or not self.figures:
            self.figures = self.measure()
        logs.update(self.figures)

    def measure(self) -> dict[str, float]:
        """Share of the questions that find their block among the best k."""
        retrieval = self.follower.acquire(0)
        found = retrieval.index.search(
            retrieval.embedder.questions([q.question for q in self.questions]),
            max(_KS),
        ).block_ids
        ranks = [
            _rank(question, retrieval.index.blocks(row[row >= 0]))
            for question, row in zip(self.questions, found, strict=True)
        ]
        return {
            f"recall_at_{k}": float(np.mean([rank <= k for rank in ranks]))
            for k in _KS
        }


class ExampleProbe(StepCallback):
    """Shows masked sentences with the blocks that raised their probability.

    They go to TensorBoard as text, and to `examples.md`.

    Args:
        data: `MaskedSentenceDataset` of the probe's own.
        folder: of the training.
        every_n_steps: between probes.
        num_steps: last step, which has one, too; None if it needs none.
        num_examples: sentences that are shown.
    """

    def __init__(
        self,
        data: MaskedSentenceDataset,
        folder: pathlib.Path,
        every_n_steps: int = 500,
        num_steps: int | None = None,
        num_examples: int = 4,
    ):
        super().__init__()
        self.data = data
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.num_steps = num_steps
        self.num_examples = num_examples
        self._path = folder / "examples.md"

    def go_on(self, step: int, figures: dict[str, float]) -> None:
        super().go_on(step, figures)
        if not self._path.exists():
            return
        # Steps that will be repeated are shown again.
        shown = _HEADING.split(self._path.read_text("utf-8"))[1:]
        numbers_and_texts = zip(shown[::2], shown[1::2], strict=True)
        kept = [
            f"## Step {n}{t}" for n, t in numbers_and_texts if int(n) <= step
        ]
        replace_file(self._path, "".join(kept))

    def on_step(self, logs: dict[str, float]) -> None:
        is_last = self.step == self.num_steps
        if self.step % self.every_n_steps == 0 or is_last:
            self.show(self.step)

    def show(self, step: int) -> str:
        """Writes the examples of a step, and returns them."""
        features = self.data.batch(step)
        rows = {
            name: value[: self.num_examples] for name, value in features.items()
        }
        sentences = self.data.sentences(step)[: self.num_examples]
        outputs = self.model(rows, training=False)
        log_probs = np.asarray(outputs["gold_log_probs"])
        block_log_probs = np.asarray(
            keras.ops.log_softmax(outputs["retrieval_logits"], axis=-1)
        )
        text = f"## Step {step}\n\n" + "\n".join(
            self._describe(
                sentence,
                rows["candidate_token_ids"][i],
                (log_probs[i] * rows["mask_weights"][i]).sum(-1),
                np.exp(block_log_probs[i]),
            )
            for i, sentence in enumerate(sentences)
        )
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(text + "\n")
        writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
        with writer.as_default(step=step):
            tf.summary.text("examples", text)
        writer.close()
        return text

    def _describe(
        self,
        sentence: Any,
        candidates: np.ndarray,
        log_probs: np.ndarray,
        block_probs: np.ndarray,
    ) -> str:
        ids = np.array(sentence.token_ids)
        answer = self._words(ids[sentence.places])
        ids[sentence.places] = self.data.featurizer.mask_id
        lines = [
            f"* {self._words(ids)} ({answer}), "
            f"{np.exp(log_probs[0]):.3g} without a block"
        ]
        for place in np.argsort(-log_probs)[: len(log_probs)]:
            if log_probs[place] > log_probs[0] and block_probs[place] > 0:
                used = candidates[place]
                lines.append(
                    f"  * {np.exp(log_probs[place]):.3g} with (p(z|x) "
                    f"{block_probs[place]:.2f}): {self._words(used[used > 0])}"
                )
        return "\n".join(lines)

    def _words(self, ids: np.ndarray) -> str:
        words = [self.data.featurizer.vocabulary[i] for i in ids]
        return " ".join(words).replace(" ##", "")


def _rank(question: Question, blocks: Sequence[Block]) -> float:
    """Rank of the first block that is right, from 1; infinity for none."""
    for rank, block in enumerate(blocks, start=1):
        if question.own_passages:
            if block.document_id in question.own_passages:
                return rank
        elif contains_answer(block.text, question.answers):
            return rank
    return float("inf")
