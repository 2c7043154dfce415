"""Latency of `RealmQA.ask`, split into embedding, searching and reading.

    python benchmarks/ask_latency.py --preset preset --corpus corpus \
        --questions qa.jsonl.gz --split test

One question at a time, as a user asks. Reading is all that is neither
embedding nor search: looking blocks up, tokenising, the reader, choosing
spans. Prints Markdown.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np

from realm_tf import RealmQA
from realm_tf.data import Corpus, read_questions


def main() -> None:
    args = parse_arguments()
    qa = open_model(args)
    questions = [
        question.question
        for question in read_questions(args.questions, split=args.split)
    ]
    num_asked = args.num_warm_up + args.num_questions
    asked = list(itertools.islice(itertools.cycle(questions), num_asked))
    seconds = measure(qa, asked, args.num_read or qa.num_read)
    print(machine.describe())
    print(
        f"{args.dtype}, {qa.index.num_blocks:,} blocks, "
        f"{'exact' if qa.index.is_exact else 'ScaNN'}, "
        f"{args.num_read or qa.num_read} blocks read, "
        f"{args.num_questions} questions after {args.num_warm_up}\n"
    )
    print("step | p50, ms | p95, ms\n--- | ---: | ---:")
    for step, values in seconds.items():
        middle, slow = np.percentile(values[args.num_warm_up :], [50, 95])
        print(f"{step} | {1e3 * middle:.1f} | {1e3 * slow:.1f}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", required=True)
    parser.add_argument("--corpus", help="default: the one in the preset")
    parser.add_argument("--index", help="default: built for this run")
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--split", help="questions of this split only")
    parser.add_argument("--num_questions", type=int, default=200)
    parser.add_argument("--num_warm_up", type=int, default=20)
    parser.add_argument("--num_read", type=int, help="blocks for a question")
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def open_model(args: argparse.Namespace) -> RealmQA:
    qa = RealmQA.from_preset(args.preset, dtype=args.dtype)
    if args.corpus and args.index:
        qa.open_index(args.index, Corpus.open(args.corpus))
    elif args.corpus:
        qa.build_index(args.corpus)
    return qa


def measure(
    qa: RealmQA, questions: list[str], num_read: int
) -> dict[str, np.ndarray]:
    """Seconds of each step for each question."""
    embed = Stopwatch(qa.question_embedding.questions_one_by_one)
    search = Stopwatch(qa.index.search)
    ask = Stopwatch(qa.ask)
    qa.question_embedding.questions_one_by_one = embed
    qa.index.search = search
    for question in questions:
        ask(question, num_read=num_read)
    seconds = {
        "embed": np.array(embed.seconds),
        "search": np.array(search.seconds),
        "ask": np.array(ask.seconds),
    }
    seconds["read"] = seconds["ask"] - seconds["embed"] - seconds["search"]
    return {step: seconds[step] for step in ("embed", "search", "read", "ask")}


class Stopwatch:
    """A function that notes how long each of its calls takes."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.seconds: list[float] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = self.function(*args, **options)
        self.seconds.append(time.perf_counter() - start)
        return result


if __name__ == "__main__":
    main()
