"""What ScaNN takes, beside what `IndexPlan` says it will take.

    python benchmarks/plan.py

Builds indexes of clustered embeddings, which lie on the disk as bfloat16, and
prints Markdown. A build runs in a process of its own, so each row is measured
in a new one.
"""

import argparse
import multiprocessing
import pathlib
import resource
import tempfile
import time

import machine
import numpy as np

from realm_tf.options import ScannOptions
from realm_tf.retrieval import EmbeddingWriter, IndexPlan, ScannSearcher

# Blocks, dimensions, leaves.
SIZES = (
    (10_000, 384, 1000),
    (60_000, 384, None),
    (300_000, 384, None),
    (200_000, 128, 3654),
    (1_000_000, 128, None),
)
CHUNK = 50_000


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    print(f"{machine.describe()}\n")
    print(
        "| blocks | dimensions | leaves | seconds | MB to build: plan "
        "| measured | MB to serve: plan | measured | MB of disk: plan "
        "| measured |"
    )
    print("|---:" * 10 + "|")
    context = multiprocessing.get_context("spawn")
    for size in SIZES:
        with context.Pool(1) as pool:
            print(pool.apply(measured, size), flush=True)


def measured(num_blocks: int, dim: int, num_leaves: int | None) -> str:
    """One row of the table."""
    options = ScannOptions(num_leaves=num_leaves)
    plan = IndexPlan(num_blocks, dim, "scann", "bfloat16", 0, options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        with EmbeddingWriter(folder, num_blocks, dtype="bfloat16") as writer:
            for chunk in embeddings(num_blocks, dim):
                writer.write(chunk)
            matrix = writer.finish()
        before, start = anonymous_bytes(), time.perf_counter()
        searcher = ScannSearcher.build(matrix, folder / "scann", options)
        seconds = time.perf_counter() - start
        serving = anonymous_bytes() - before
        files = (folder / "scann").iterdir()
        disk = sum(file.stat().st_size for file in files)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    cells = [
        f"{num_blocks:,}",
        dim,
        searcher.options.num_leaves,
        f"{seconds:.0f}",
        *(
            f"{value / 1e6:,.0f}"
            for value in (
                *(plan.build_memory, peak),
                *(plan.serving_memory, serving),
                *(plan.scann_bytes, disk),
            )
        ),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def embeddings(num_blocks: int, dim: int):
    """Yields chunks around 1,000 centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, dim), np.float32)
    for start in range(0, num_blocks, CHUNK):
        rows = min(CHUNK, num_blocks - start)
        noise = rng.standard_normal((rows, dim), np.float32)
        yield centres[rng.integers(0, len(centres), rows)] + 0.7 * noise


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
