"""One version of realm_tf, measured on demand; `engine.py` starts it.

The version is that of PYTHONPATH, this one or an older one. The first line of
the input holds the options, each other one the name of a figure. Each reply is
a line of JSON.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from typing import Any, TextIO

import inputs
import keras
import numpy as np
import tensorflow as tf
import timing

from realm_tf import RealmQA

TRAIN_BATCH_SIZE, TRAIN_NUM_READ = 8, 2


def main() -> None:
    # Whatever else is printed must not come between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    args = argparse.Namespace(**json.loads(sys.stdin.readline()))
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    worker = Worker(args)
    reply(replies, "ready")
    for line in sys.stdin:
        reply(replies, getattr(worker, line.strip())())


def reply(replies: TextIO, value: Any) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


class Worker:
    """A model with its index, and the texts it is measured with."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.work = pathlib.Path(args.work)
        self.policy = {"bfloat16": "mixed_bfloat16"}.get(args.dtype, args.dtype)
        self.preset = pathlib.Path(args.preset)
        if not self.preset.exists():
            self._write_preset()
        self.qa = self._open()
        known = inputs.read_questions(args.questions)
        order = np.random.default_rng(0).permutation(len(known))
        known = [known[i] for i in order]
        self.questions = [question.question for question in known]
        self.train_questions = [
            question for question in known if question.passage_id
        ][: args.train_questions]
        ids = np.random.default_rng(1).integers(
            0, self.qa.index.num_blocks, args.num_blocks
        )
        self.blocks = self.qa.index.blocks(ids)

    def answers(self) -> list[str]:
        return [answer.text for answer in self.qa.predict(self._batch())]

    def ask(self) -> float:
        """Median milliseconds of a question."""
        seconds = []
        for question in self.questions[: self.args.num_asked]:
            start = time.perf_counter()
            self.qa.ask(question)
            seconds.append(time.perf_counter() - start)
        return 1e3 * statistics.median(seconds)

    def predict(self) -> float:
        """Questions a second, in one batch."""
        start = time.perf_counter()
        self.qa.predict(self._batch())
        return self.args.batch / (time.perf_counter() - start)

    def embed(self) -> float:
        """Blocks a second."""
        start = time.perf_counter()
        inputs.embed_blocks(self.qa, self.blocks)
        return len(self.blocks) / (time.perf_counter() - start)

    def finetune(self) -> float:
        """Milliseconds of a step, in the second epoch."""
        clock = Clock()
        qa = self._open()
        folder = self.work / "train"
        if not folder.exists():
            self._write_train_passages()
            inputs.build_corpus([f"{folder}.jsonl"], folder, qa.featurizer)
        finetune(qa, folder, self.train_questions, clock)
        return 1e3 * clock.seconds_per_step

    def rate(self) -> float:
        """Floating-point operations a second of one large product."""
        return timing.matmul_rate(self.policy)

    def flops(self) -> dict[str, float]:
        """Floating-point operations of each thing, without padding."""
        asked = self.qa.predict(self._batch())
        answers = {
            "ask": asked[: self.args.num_asked],
            "predict": asked,
        }
        found = {
            name: statistics.mean(self._read_flops(a) for a in part)
            for name, part in answers.items()
        }
        features = self.qa.featurizer.blocks(
            [block.title for block in self.blocks],
            [block.text for block in self.blocks],
        )
        backbone = self.qa.block_embedder.backbone
        found["embed"] = backbone_flops(backbone, features) / len(self.blocks)
        return found

    def export(self) -> str:
        """Folder of a bundle for the service."""
        folder = self.work / "bundle"
        self.qa.export(folder)
        return str(folder)

    def _write_preset(self) -> None:
        args = self.args
        qa = inputs.sentence_encoder(args.bert, "float32")
        qa.num_read = args.num_read
        inputs.build_index(qa, args.corpus, args.index_blocks, self.work)
        qa.save_to_preset(self.preset, include_corpus=True)

    def _open(self) -> RealmQA:
        return RealmQA.from_preset(self.preset, dtype=self.policy)

    def _batch(self) -> list[str]:
        return self.questions[: self.args.batch]

    def _read_flops(self, answer: Any) -> float:
        featurizer, reader = self.qa.featurizer, self.qa.reader
        question = featurizer.questions([answer.question])
        joint = featurizer.joint(
            [answer.question] * len(answer.blocks),
            [block.title for block in answer.blocks],
            [block.text for block in answer.blocks],
        )
        num_tokens = float(joint["padding_mask"].numpy().sum())
        width = reader.backbone.hidden_dim
        return (
            backbone_flops(self.qa.query_embedder.backbone, question)
            + backbone_flops(reader.backbone, joint)
            + 2 * num_tokens * width * 2 * reader.span_hidden_dim
        )

    def _write_train_passages(self) -> None:
        wanted = {question.passage_id for question in self.train_questions}
        with open(self.work / "train.jsonl", "w", encoding="utf-8") as file:
            for record in inputs.read_records(self.args.corpus):
                if record["id"] in wanted:
                    file.write(json.dumps(record) + "\n")


class Clock(keras.callbacks.Callback):
    """Times the steps of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start, self.num_steps = None, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.start = self.start or time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.end = time.perf_counter()
        self.num_steps += 1

    @property
    def seconds_per_step(self) -> float:
        return (self.end - self.start) / self.num_steps


def finetune(
    qa: RealmQA, folder: pathlib.Path, questions: list[Any], clock: Clock
) -> None:
    """Two epochs of the reader, with the options of `finetune` in common."""
    corpus = inputs.find(
        "Corpus",
        "realm_tf.data",
        "realm_tf.data.corpus.corpus",
        "realm_tf.data.corpus",
    )
    train = inputs.find(
        "finetune", "realm_tf.training", "realm_tf.training.finetuning"
    )
    options = inputs.find(
        "FinetuneOptions",
        "realm_tf.options",
        "realm_tf.training.finetune_options",
    )
    train(
        qa,
        corpus.open(folder),
        questions,
        options(
            retriever_epochs=0,
            epochs=2,
            batch_size=TRAIN_BATCH_SIZE,
            num_read=TRAIN_NUM_READ,
            num_retrieved=TRAIN_NUM_READ,
        ),
        callbacks=[clock],
    )


def backbone_flops(backbone: Any, features: dict[str, Any]) -> float:
    """Floating-point operations of the rows, each of its own length."""
    lengths = features["padding_mask"].numpy().sum(axis=1)
    return 2.0 * sum(
        timing.products(backbone.num_layers, backbone.hidden_dim, 1, int(n))
        for n in lengths
    )


if __name__ == "__main__":
    main()
