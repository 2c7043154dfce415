"""What a retriever learns from text alone: recall after each stage.

    python benchmarks/pretraining.py --bert all-MiniLM-L6-v2 \
        --passages wiki/passages.jsonl.gz squad/passages.jsonl.gz \
        --questions wiki/qa.jsonl.gz squad/qa.jsonl.gz --output pretrained

Starts with the published head, which knows nothing yet: ICT, then masked words
of passages without blocks (for a BERT that has no head which predicts words),
then with blocks that have the masked name, so that the encoder learns to read,
then with blocks that the retriever finds and a refreshed index. No question is
trained on; those of the split "test" are asked at the start and after each
stage that trains the retriever. `--words_steps 0` leaves masked words without
blocks out, `--read_steps 0` the mentions.
Prints Markdown; presets, logs and `report.json` go to the output folder, and
`benchmarks/pretraining_plot.py` draws them. With `--variants` the last stage is
run from the same start for each kind of mask and for a stale index, as in table
2 of Guu et al., 2020. Two variants tell what to expect of it: `copying` has a
`CopyingEncoder` in place of one that had to learn to read, and `more-ict` goes
on with ICT for as many steps and sentences.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import machine
from keras import ops

from realm_tf import RealmQA
from realm_tf._constants import MASKS
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question, read_questions
from realm_tf.data.spans.combined_tagger import CombinedTagger
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_spans import default_path, tag_corpus
from realm_tf.data.spans.sentence_masks import RandomTokenMasks, make_masks
from realm_tf.data.spans.span_tagger import SpanTagger
from realm_tf.evaluation import recall
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.models.entity_tagger import EntityTagger
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    TrainingOptions,
)
from realm_tf.training.pretraining import read_log
from realm_tf.training.pretraining_stages import (
    pretrain_inverse_cloze,
    pretrain_masked_words,
)

KS = (1, 5, 20)
VARIANTS = (*MASKS, "stale", "copying", "more-ict")
STALER = 30  # times, as in the paper; 100 steps end before the first refresh
COPYING_LOGIT = 8.0  # a block's wordpiece: 0.9% where it has 80, else 0.003%


def main() -> None:
    args = parse_arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    print(f"{machine.describe()}, {args.dtype}\n")
    keras.utils.set_random_seed(args.seeds[0])
    questions = [
        question
        for path in args.questions
        for question in read_questions(path, split="test")
    ]
    qa = RealmQA.from_bert(
        args.bert,
        dtype=args.dtype,
        dropout=args.dropout,
        pooling="cls",
        logit_scale=args.logit_scale,
    )
    corpus = open_corpus(args.output / "corpus", args.passages, qa)
    tag(corpus, args)
    report = Report(args.output, corpus, questions)
    ict = args.output / "ict"
    if not ict.exists():
        learn_from_text(args, qa, corpus, report)
    for seed in args.seeds:
        for variant in args.variants:
            learn_from_masks(args, corpus, report, variant, seed)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--bert", required=True, help="BERT folder")
    parser.add_argument("--passages", nargs="+", required=True)
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--tagger", help="of `realm-tf train-tagger`")
    parser.add_argument("--dtype", default="float32", help="dtype policy")
    parser.add_argument("--dropout", type=float, default=0.0)
    for stage, steps, batch_size, learning_rate in (
        ("ict", 500, 32, 5e-5),
        ("words", 400, 32, 3e-4),
        ("read", 600, 16, 3e-4),
        ("mlm", 100, 16, 5e-6),
    ):
        parser.add_argument(f"--{stage}_steps", type=int, default=steps)
        parser.add_argument(
            f"--{stage}_batch_size", type=int, default=batch_size
        )
        parser.add_argument(
            f"--{stage}_learning_rate", type=float, default=learning_rate
        )
    parser.add_argument("--num_candidates", type=int, default=4)
    parser.add_argument(
        "--own_block", choices=("exclude", "cut"), default="cut", help="in mlm"
    )
    parser.add_argument(
        "--block_length", type=int, default=128, help="in training"
    )
    parser.add_argument("--query_length", type=int, default=48, help="in ict")
    parser.add_argument("--logit_scale", type=float, default=20.0)
    parser.add_argument("--refresh_every", type=int, default=50)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.set_defaults(variants=["salient"])
    return parser.parse_args()


class Report:
    """Asks the questions after each stage; keeps and prints what was found."""

    def __init__(
        self,
        folder: pathlib.Path,
        corpus: Corpus,
        questions: Sequence[Question],
    ):
        self.corpus = corpus
        self.questions = questions
        self.path = folder / "report.json"
        self.rows: list[dict[str, Any]] = []
        if self.path.exists():
            self.rows = json.loads(self.path.read_text())
        print(f"{corpus.num_blocks:,} blocks, {len(questions):,} questions\n")
        print("after |", " | ".join(f"recall@{k}" for k in KS), "| minutes")
        print("--- |", " | ".join("---:" for _ in KS), "| ---:")
        for row in self.rows:
            self._show(row)

    def add(
        self, stage: str, qa: RealmQA, folder: pathlib.Path | None = None
    ) -> None:
        if any(row["stage"] == stage for row in self.rows):
            return  # of a run that was stopped and goes on
        index = qa.build_index(self.corpus)
        found = qa.search([q.question for q in self.questions], max(KS))
        ranks = [
            recall.first_rank(
                block.document_id == question.passage_id
                for block in index.blocks(row)
            )
            for question, row in zip(
                self.questions, found.block_ids, strict=True
            )
        ]
        row = {
            "stage": stage,
            "recall": recall.recall_at_k(ranks, KS),
            "minutes": training_minutes(folder) if folder else 0.0,
        }
        self.rows.append(row)
        self.path.write_text(json.dumps(self.rows, indent=1) + "\n")
        self._show(json.loads(json.dumps(row)))

    def _show(self, row: dict[str, Any]) -> None:
        shares = (f"{row['recall'][str(k)]:.3f}" for k in KS)
        minutes = f"{row['minutes']:.1f}"
        print(row["stage"], *shares, minutes, sep=" | ", flush=True)


def open_corpus(
    path: pathlib.Path, passages: Sequence[str], qa: RealmQA
) -> Corpus:
    if path.exists():
        return Corpus.open(path)
    return build_corpus(passages, path, qa.featurizer)


def tag(corpus: Corpus, args: argparse.Namespace) -> None:
    path = default_path(corpus.path)
    if path.exists():
        return
    taggers: list[SpanTagger] = [DateNumberTagger()]
    if args.tagger:
        taggers.insert(0, EntityTagger.load(args.tagger, dtype=args.dtype))
    tag_corpus(corpus, CombinedTagger(taggers), path)


def learn_from_text(
    args: argparse.Namespace, qa: RealmQA, corpus: Corpus, report: Report
) -> None:
    """ICT, then masked words without blocks, then with mentions to read."""
    report.add("start", qa)
    folder = args.output / "ict.training"
    inverse_cloze(args, qa, corpus, "ict", folder, args.seeds[0])
    report.add("ICT", qa, folder)
    words = {"num_candidates": 1, "query_length": 144, "max_masks": 26}
    read = {"num_candidates": 2, "candidates": "mentions"}
    passages = RandomTokenMasks(0.2, passage_bytes=480)
    mentions = make_masks("recurring", corpus, block_length=args.block_length)
    for stage, name, chosen, options in (
        ("words", "masked words of passages", passages, words),
        ("read", "reading mentions", mentions, read),
    ):
        if not getattr(args, f"{stage}_steps"):
            continue
        folder = args.output / f"{stage}.training"
        pretrain_masked_words(
            qa,
            corpus,
            chosen,
            folder,
            training(args, stage),
            MaskedSentenceOptions(
                batch_size=getattr(args, f"{stage}_batch_size"),
                seed=args.seeds[0],
                **options,
            ),
            block_length=args.block_length,
        )
        minutes = training_minutes(folder)
        last = json.dumps(read_log(folder)[-1])
        print(f"{name}, {minutes:.1f} minutes:", last, flush=True)
    qa.save_to_preset(args.output / "ict")


def learn_from_masks(
    args: argparse.Namespace,
    corpus: Corpus,
    report: Report,
    variant: str,
    seed: int,
) -> None:
    """Masked words with blocks, from where `learn_from_text` ended."""
    output = args.output / f"{variant}-{seed}"
    if output.exists():
        return
    keras.utils.set_random_seed(seed)
    qa = RealmQA.from_preset(
        args.output / "ict", dtype=args.dtype, dropout=args.dropout
    )
    if variant == "copying":
        qa.encoder = CopyingEncoder(qa.encoder.backbone, name="encoder")
        qa.encoder.trainable = False
    folder = output.with_name(f"{output.name}.training")
    if variant == "more-ict":
        # Another seed than that of the first part, whose order it would repeat.
        inverse_cloze(args, qa, corpus, "mlm", folder, seed + 1)
    else:
        masked_words(args, qa, corpus, folder, variant, seed)
    report.add(f"{variant}, seed {seed}", qa, folder)
    qa.save_to_preset(output)
    print(json.dumps(read_log(folder)[-1]), flush=True)


def masked_words(
    args: argparse.Namespace,
    qa: RealmQA,
    corpus: Corpus,
    folder: pathlib.Path,
    variant: str,
    seed: int,
) -> None:
    pretrain_masked_words(
        qa,
        corpus,
        make_masks(
            variant if variant in MASKS else "salient",
            corpus,
            block_length=args.block_length,
        ),
        folder,
        training(args, "mlm"),
        MaskedSentenceOptions(
            batch_size=args.mlm_batch_size,
            num_candidates=args.num_candidates,
            own_block=args.own_block,
            seed=seed,
        ),
        block_length=args.block_length,
        every_n_steps=args.refresh_every
        * (STALER if variant == "stale" else 1),
    )


def inverse_cloze(
    args: argparse.Namespace,
    qa: RealmQA,
    corpus: Corpus,
    stage: str,
    folder: pathlib.Path,
    seed: int,
) -> None:
    pretrain_inverse_cloze(
        qa,
        corpus,
        folder,
        training(args, stage),
        InverseClozeOptions(
            batch_size=getattr(args, f"{stage}_batch_size"),
            seed=seed,
        ),
        query_length=args.query_length,
        block_length=args.block_length,
    )


class CopyingEncoder(KnowledgeAugmentedEncoder):
    """Expects the wordpieces of the block, all alike, and hardly any other.

    So it tells the retriever which blocks have what is masked, untrained.
    """

    def call(self, inputs, mask_positions, training=None):
        is_block = inputs["segment_ids"] * inputs["padding_mask"]
        ids = inputs["token_ids"] * is_block
        size = self.backbone.vocabulary_size
        counts = ops.bincount(
            ops.reshape(ids, (-1, ops.shape(ids)[-1])), minlength=size
        )
        present = ops.cast(counts > 0, "float32")
        shape = (*ids.shape[:2], mask_positions.shape[1], size)
        present = ops.reshape(present, (*ids.shape[:2], 1, size))
        return COPYING_LOGIT * ops.broadcast_to(present, shape)


def training(args: argparse.Namespace, stage: str) -> TrainingOptions:
    num_steps = getattr(args, f"{stage}_steps")
    return TrainingOptions(
        num_steps=num_steps,
        num_warmup_steps=min(100, num_steps // 4),
        learning_rate=getattr(args, f"{stage}_learning_rate"),
        log_every=10,
    )


def training_minutes(folder: pathlib.Path) -> float:
    """From the log, which holds what was done before a stop, too."""
    minutes, step = 0.0, 0
    for row in read_log(folder):
        minutes += (row["step"] - step) / row["steps_per_second"] / 60
        step = row["step"]
    return minutes


if __name__ == "__main__":
    main()
