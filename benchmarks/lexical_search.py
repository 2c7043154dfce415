"""What words cost beside embeddings: space, time to build, time of a search.

    python benchmarks/lexical_search.py --corpus wikipedia \
        --questions squad_dev/qa.jsonl.gz --split train

Builds two indexes of the corpus with random embeddings of 8 dimensions, one
with a lexical part, and prints Markdown. The embeddings do not matter: the
difference of the two searches is what words take.
"""

import argparse
import pathlib
import tempfile
import time

import machine
import numpy as np

from realm_tf.data import Corpus, read_questions
from realm_tf.retrieval import BlockIndex

DIM = 8
K = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--split")
    parser.add_argument("--num_questions", type=int, default=1000)
    args = parser.parse_args()
    corpus = Corpus.open(args.corpus, verify=False)
    questions = read_questions(args.questions, split=args.split)
    texts = [question.question for question in questions[: args.num_questions]]
    print(f"{machine.describe()}\n\n{corpus.num_blocks:,} blocks\n")
    with tempfile.TemporaryDirectory() as folder:
        measure(corpus, texts, pathlib.Path(folder))


def measure(corpus: Corpus, texts: list[str], folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(corpus.num_blocks, DIM)).astype(np.float32)
    queries = rng.normal(size=(len(texts), DIM)).astype(np.float32)
    print("| words | seconds to build | MB | ms a question |")
    print("|---|---:|---:|---:|")
    for analyzer in (None, "plain", "english"):
        start = time.perf_counter()
        index = BlockIndex.build(
            folder / str(analyzer),
            corpus,
            embeddings,
            embedder_fingerprint="random",
            searcher="brute_force",
            analyzer=analyzer,
        )
        built = time.perf_counter() - start
        weight = 0.0 if analyzer is None else 1.0
        start = time.perf_counter()
        for query, text in zip(queries, texts, strict=True):
            index.search(query[None], K, texts=[text], lexical_weight=weight)
        each = (time.perf_counter() - start) / len(texts)
        files = (index.folder / "lexical").glob("*")
        size = sum(file.stat().st_size for file in files)
        cells = [f"{built:.1f}", f"{size / 1e6:.1f}", f"{1e3 * each:.2f}"]
        print(f"| {analyzer} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
