"""Measures exact search against ScaNN, in time, memory and recall.

    python benchmarks/search.py --num_blocks 125000
    python benchmarks/search.py --embeddings blocks.npy --queries queries.npy

Without files, blocks are points around 2,000 random centres and queries are
blocks with noise. Prints Markdown.
"""

import argparse
import os
import pathlib
import tempfile
import time

import numpy as np

from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_writer import EmbeddingWriter
from realm_tf.retrieval.searchers.scann_searcher import (
    ScannSearcher,
    import_scann,
)
from realm_tf.retrieval.searchers.searcher_recall import (
    sample_queries,
    searcher_recall_at_k,
)

DIM = 128
NUM_CENTERS = 2_000
BATCHES = (1, 32)
KS = (5, 20, 100)


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        matrix = load_embeddings(arguments, folder)
        if arguments.queries:
            queries = np.load(arguments.queries)
        else:
            queries = sample_queries(matrix, arguments.num_queries)
        print(
            f"{matrix.num_rows:,} blocks x {matrix.dim}, {len(queries)} "
            f"queries, k={max(KS)}, {os.cpu_count()} processors\n"
        )
        print("searcher | build s |", end=" ")
        print(*(f"p50, p95 ms, batch {b} |" for b in BATCHES), end=" ")
        print(*(f"recall@{k} |" for k in KS), "memory MB")
        print("--- | " * (3 + len(BATCHES) + len(KS)) + "---")
        exact_searcher = BruteForceSearcher(matrix)
        exact = exact_searcher.search(queries, max(KS))
        report("brute force", 0.0, 0.0, exact_searcher, queries, exact)
        import_scann()  # and TensorFlow with it, which is not the index's
        for leaves in arguments.leaves_to_search:
            before = memory_mb()
            start = time.perf_counter()
            options = ScannOptions(
                num_leaves=arguments.num_leaves, leaves_to_search=leaves
            )
            scann_folder = pathlib.Path(folder) / f"scann-{leaves}"
            searcher = ScannSearcher.build(matrix, scann_folder, options)
            seconds = time.perf_counter() - start
            name = (
                f"scann {searcher.options.leaves_to_search} of "
                f"{searcher.options.num_leaves} leaves"
            )
            used = memory_mb() - before
            report(name, seconds, used, searcher, queries, exact)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_blocks", type=int, default=125_000)
    parser.add_argument("--num_queries", type=int, default=512)
    parser.add_argument("--embeddings", help=".npy file (num_blocks, dim)")
    parser.add_argument("--queries", help=".npy file (num_queries, dim)")
    parser.add_argument("--num_leaves", type=int)
    parser.add_argument(
        "--leaves_to_search", type=int, nargs="*", default=[None]
    )
    parser.add_argument("--folder", help="for temporary files")
    return parser.parse_args()


def load_embeddings(arguments, folder):
    """Memory-maps the embeddings, so that they do not count as memory."""
    if arguments.embeddings:
        rows = np.load(arguments.embeddings, mmap_mode="r")
    else:
        rows = clustered(arguments.num_blocks)
    with EmbeddingWriter(folder, len(rows)) as writer:
        writer.write(rows)
        return writer.finish()


def clustered(num_blocks):
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((NUM_CENTERS, DIM), np.float32)
    rows = generator.standard_normal((num_blocks, DIM), np.float32)
    rows *= 0.7
    rows += centers[generator.integers(0, NUM_CENTERS, num_blocks)]
    return rows


def report(name, build_seconds, megabytes, searcher, queries, exact):
    times = " | ".join(
        "{:.1f}, {:.1f}".format(*milliseconds(searcher, queries, batch))
        for batch in BATCHES
    )
    found = searcher.search(queries, max(KS))
    recalls = " | ".join(
        f"{searcher_recall_at_k(found, exact, k):.3f}" for k in KS
    )
    print(
        f"{name} | {build_seconds:.1f} | {times} | {recalls} | {megabytes:.0f}",
        flush=True,
    )


def milliseconds(searcher, queries, batch):
    """Median and 95th percentile for a query, searched in batches."""
    times = []
    for start in range(0, min(len(queries), 64 * batch), batch):
        chunk = queries[start : start + batch]
        begin = time.perf_counter()
        searcher.search(chunk, max(KS))
        times.append((time.perf_counter() - begin) * 1e3 / len(chunk))
    return np.percentile(times, [50, 95])


def memory_mb():
    """Memory of this process, without mapped files."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) / 1024


if __name__ == "__main__":
    main()
