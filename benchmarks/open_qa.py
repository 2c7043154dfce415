"""Open-domain question answering, before and after fine-tuning, beside BM25.

    python benchmarks/open_qa.py --bert all-MiniLM-L6-v2 \
        --passages wiki/passages.jsonl.gz squad/passages.jsonl.gz \
        --questions wiki/qa.jsonl.gz squad/qa.jsonl.gz --output preset
    python benchmarks/open_qa.py --preset preset --corpus larger_corpus \
        --questions wiki/qa.jsonl.gz squad/qa.jsonl.gz

Trains on the questions of the split "train", answers those of the split
"test" without their passages, and prints Markdown: of each folder and of all,
the share of questions with a block of their own passage (gold recall) and
with an answer (answer recall) in the best k blocks, exact match and F1.
With a preset, nothing is trained. Needs `pip install bm25s PyStemmer`.
"""

import argparse
import dataclasses
import functools
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import bm25
import keras
import machine

from realm_tf import Answer, RealmQA
from realm_tf.data import (
    Article,
    Corpus,
    Question,
    build_corpus,
    read_questions,
)
from realm_tf.evaluation import evaluate
from realm_tf.options import FinetuneOptions

KS = (1, 5, 20)
COLUMNS = {
    **{f"block_recall_at_{k}": f"gold recall@{k}" for k in KS},
    **{f"answer_recall_at_{k}": f"answer recall@{k}" for k in KS},
    "exact_match": "exact match",
    "f1": "F1",
}
Predict = Callable[[list[str]], list[Answer]]


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run(args, pathlib.Path(folder))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--bert", help="BERT folder to fine-tune")
    model.add_argument("--preset", help="preset to evaluate")
    corpus = parser.add_mutually_exclusive_group(required=True)
    corpus.add_argument("--passages", nargs="+", help="JSON lines")
    corpus.add_argument("--corpus", help="corpus folder")
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--index", help="index folder of --preset, --corpus")
    parser.add_argument("--output", help="preset to write")
    parser.add_argument("--folder", help="where temporary files have room")
    parser.add_argument("--dtype", default="float32", help="dtype policy")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument(
        "--blocks_read", type=int, nargs="+", default=[5], help="in answering"
    )
    for name, default in dataclasses.asdict(FinetuneOptions()).items():
        kind: Any = {"type": type(default)}
        if isinstance(default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(f"--{name}", default=default, **kind)
    return parser.parse_args()


def run(args: argparse.Namespace, folder: pathlib.Path) -> None:
    print(f"{machine.describe()}, {args.dtype}\n")
    names = [field.name for field in dataclasses.fields(FinetuneOptions)]
    options = FinetuneOptions(**{name: getattr(args, name) for name in names})
    keras.utils.set_random_seed(options.seed)
    if args.preset:
        qa = RealmQA.from_preset(args.preset, dtype=args.dtype)
    else:
        qa = RealmQA.from_preset(
            args.bert, dtype=args.dtype, dropout=args.dropout
        )
    if args.corpus:
        corpus = Corpus.open(args.corpus)
    else:
        corpus = build_corpus(args.passages, folder / "corpus", qa.featurizer)
    sets = read_sets(args.questions, "test")
    print(f"{corpus.num_blocks:,} blocks\n")
    print("questions | number | system |", " | ".join(COLUMNS.values()))
    print("--- | ---: | --- |", " | ".join("---:" for _ in COLUMNS))
    show_bm25(corpus, sets)
    if args.index:
        qa.open_index(args.index, corpus)
    else:
        qa.build_index(corpus, folder / "index")
    if args.bert:
        show_scores("before fine-tuning", sets, predictor(qa, num_read=1))
        show_embeddings(qa, sets)
        train_sets = read_sets(args.questions, "train")
        seconds = train(qa, corpus, train_sets, options, folder / "index")
        if args.output:
            qa.save_to_preset(args.output, overwrite=True)
    show_embeddings(qa, sets)
    for num_read in args.blocks_read:
        show_scores(f"realm_tf, {num_read} read", sets, predictor(qa, num_read))
    print(f"\nweight of words: {qa.lexical_weight:.3f}")
    if args.bert:
        print("\nfine-tuning |", " | ".join(seconds))
        print("--- |", " | ".join("---:" for _ in seconds))
        print("seconds |", " | ".join(f"{s:.0f}" for s in seconds.values()))


def read_sets(paths: Sequence[str], split: str) -> dict[str, list[Question]]:
    """Questions by the folder of their file; those of all folders go last."""
    sets: dict[str, list[Question]] = {}
    for path in paths:
        name = pathlib.Path(path).absolute().parent.name
        sets.setdefault(name, []).extend(read_questions(path, split=split))
    pooled = [question for questions in sets.values() for question in questions]
    return sets | {"all": pooled} if len(sets) > 1 else sets


def everything(sets: dict[str, list[Question]]) -> list[Question]:
    return list(sets.values())[-1]


def show_bm25(corpus: Corpus, sets: dict[str, list[Question]]) -> None:
    passages = [
        Article(block.document_id, block.title, block.text) for block in corpus
    ]
    retriever = bm25.index(passages, k1=0.9, b=0.4)
    for name, questions in sets.items():
        scores = bm25.measure(retriever, passages, questions)
        show("BM25", name, len(questions), scores)


def predictor(qa: RealmQA, num_read: int) -> Predict:
    return functools.partial(
        qa.predict, num_read=num_read, num_retrieved=max(num_read, *KS)
    )


def show_embeddings(qa: RealmQA, sets: dict[str, list[Question]]) -> None:
    """Scores the search by embeddings alone."""
    weight = qa.lexical_weight
    qa.lexical_weight = 0.0
    show_scores("embeddings alone, 1 read", sets, predictor(qa, num_read=1))
    qa.lexical_weight = weight


def show_scores(
    system: str, sets: dict[str, list[Question]], predict: Predict
) -> None:
    """Asks every question once, and scores the answers of each set."""
    texts = list({q.question: None for q in everything(sets)})
    answers = dict(zip(texts, predict(texts), strict=True))
    for name, questions in sets.items():
        report = evaluate(
            lambda batch: [answers[text] for text in batch], questions, ks=KS
        )
        show(system, name, len(questions), report.to_json())


def train(
    qa: RealmQA,
    corpus: Corpus,
    sets: dict[str, list[Question]],
    options: FinetuneOptions,
    index_path: pathlib.Path,
) -> dict[str, float]:
    """Fine-tunes; returns the seconds of each stage, and of all."""
    history = qa.fit(
        everything(sets),
        corpus,
        options=options,
        index_path=index_path,
        verbose=0,
        progress=show_progress,
    )
    report = history.report
    return report.seconds | {"all": sum(report.seconds.values())}


def show_progress(
    stage: str, done: int, total: int, figures: dict[str, float]
) -> None:
    if done % max(1, total // 20) == 0 or done == total:
        shown = " ".join(f"{name}={x:.3f}" for name, x in figures.items())
        print(f"{stage} {done}/{total} {shown}", file=sys.stderr, flush=True)


def show(
    system: str, name: str, num_questions: int, scores: dict[str, Any]
) -> None:
    values = (scores.get(column) for column in COLUMNS)
    cells = ("" if value is None else f"{value:.3f}" for value in values)
    print(" | ".join([name, f"{num_questions:,}", system, *cells]), flush=True)


if __name__ == "__main__":
    main()
