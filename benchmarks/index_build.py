"""Measures embedding a corpus, building its index and opening it.

    python benchmarks/index_build.py --bert all-MiniLM-L6-v2 \
        --corpus corpus --output index

Prints Markdown.
"""

import argparse
import concurrent.futures
import multiprocessing
import sys
import time
from collections.abc import Iterator
from typing import Any

import machine
import numpy as np

from realm_tf.data import Corpus
from realm_tf.retrieval import BlockIndex

Rows = dict[str, Any]


def main() -> None:
    args = parse_arguments()
    rows = measure_build(args)
    # A new process, because this one holds a model and what it embedded.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        opening = executor.submit(measure_opening, args, rows["searcher"])
        rows |= opening.result()
    print(machine.describe())
    print("\nmeasure | value\n--- | ---:")
    for name, value in rows.items():
        shown = value if isinstance(value, str) else f"{value:,.5g}"
        print(f"{name} | {shown}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--preset")
    model.add_argument("--bert", help="BERT folder in the Hugging Face layout")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--output", required=True, help="index folder")
    parser.add_argument(
        "--searcher", choices=("auto", "brute_force", "scann"), default="auto"
    )
    parser.add_argument(
        "--storage", choices=("float32", "bfloat16"), default="float32"
    )
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def measure_build(args: argparse.Namespace) -> Rows:
    from realm_tf import RealmQA

    qa = RealmQA.from_preset(args.preset or args.bert, dtype=args.dtype)
    corpus = Corpus.open(args.corpus)
    start = time.perf_counter()
    qa.fit_projection(corpus)
    fitted = time.perf_counter()
    chunks = Embeddings(qa.block_embedding.corpus(corpus), corpus.num_blocks)
    index = BlockIndex.build(
        args.output,
        corpus,
        chunks,
        embedder_fingerprint=qa.embedder_fingerprint,
        searcher=args.searcher,
        dtype=args.storage,
    )
    build_seconds = time.perf_counter() - fitted - chunks.seconds
    files = index.folder.rglob("*")
    size = sum(file.stat().st_size for file in files if file.is_file())
    recall = index.manifest.options.get("searcher_recall", {})
    num_wordpieces = count_wordpieces(corpus)
    return {
        "precision": args.dtype,
        "blocks": corpus.num_blocks,
        "wordpieces": num_wordpieces,
        "fit projection, s": fitted - start,
        "embed, s": chunks.seconds,
        "embed, blocks/s": corpus.num_blocks / chunks.seconds,
        "embed, wordpieces/s": num_wordpieces / chunks.seconds,
        "searcher": index.manifest.options["searcher"],
        "build searcher, write and hash, s": build_seconds,
        **{f"searcher recall {k}": share for k, share in recall.items()},
        "peak memory, MB": machine.peak_memory_mb(),
        "on disk, MB": size / 1e6,
        "on disk, bytes/block": size / corpus.num_blocks,
    }


class Embeddings:
    """Chunks of embeddings, with a note of the seconds they took."""

    def __init__(self, chunks: Iterator[np.ndarray], num_blocks: int):
        self.chunks = chunks
        self.num_blocks = num_blocks
        self.num_embedded = 0
        self.seconds = 0.0

    def __iter__(self) -> "Embeddings":
        return self

    def __next__(self) -> np.ndarray:
        start = time.perf_counter()
        try:
            chunk = next(self.chunks)
        finally:
            self.seconds += time.perf_counter() - start
        self.num_embedded += len(chunk)
        rate = self.num_embedded / self.seconds
        print(
            f"{self.num_embedded:,} of {self.num_blocks:,}, {rate:,.0f} a s",
            file=sys.stderr,
        )
        return chunk


def count_wordpieces(corpus: Corpus) -> int:
    """Wordpieces of titles and texts, without special tokens."""
    return sum(
        len(corpus.token_ids(i)) + len(corpus.title_ids(i))
        for i in range(corpus.num_blocks)
    )


def measure_opening(args: argparse.Namespace, searcher: str) -> Rows:
    if searcher == "scann":
        import scann  # noqa: F401  # its memory is not the index's
    before = machine.memory_mb()
    start = time.perf_counter()
    corpus = Corpus.open(args.corpus, verify=False)
    index = BlockIndex.open(args.output, corpus, verify=False)
    opened = time.perf_counter()
    rows = {
        "open corpus and index, s": opened - start,
        "memory of opening, MB": machine.memory_mb() - before,
    }
    index.search(index.embeddings(np.arange(1)), k=5)
    rows["first search, s"] = time.perf_counter() - opened
    rows["memory after it, MB"] = machine.memory_mb() - before
    start = time.perf_counter()
    BlockIndex.open(args.output, corpus, verify=True)
    rows["open and verify the index, s"] = time.perf_counter() - start
    return rows


if __name__ == "__main__":
    main()
