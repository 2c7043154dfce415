"""Measures building, opening and reading a corpus folder.

    python benchmarks/corpus_build.py --vocabulary vocab.txt articles.jsonl.gz

Takes all that `build_corpus` takes: jsonl, tsv, text, WikiExtractor's output
and Wikipedia dumps. Prints Markdown.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import random
import resource
import tempfile
import time

from realm_tf.data import Corpus

NUM_READS = 2_000
BLOCKS_A_READ = 5


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = pathlib.Path(folder, "corpus")
        rows = measure_build(path, arguments)
        # A new process, because this one holds TensorFlow and the build.
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
            rows |= executor.submit(measure_reading, path).result()
    print("measure | value\n--- | ---:")
    for name, value in rows.items():
        print(f"{name} | {value:,.6g}")


def measure_build(path, arguments):
    from realm_tf.data import Featurizer, build_corpus

    featurizer = Featurizer.from_file(arguments.vocabulary)
    featurizer.tokenize(["Compile first."])
    start = time.perf_counter()
    corpus = build_corpus(
        arguments.sources,
        path,
        featurizer,
        num_processes=arguments.num_processes,
    )
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in path.iterdir())
    return {
        "processes": arguments.num_processes,
        "articles": corpus.manifest.counts["num_articles"],
        "blocks": len(corpus),
        "build, s": seconds,
        "articles/s": corpus.manifest.counts["num_articles"] / seconds,
        "blocks/s": len(corpus) / seconds,
        "CPU, s": cpu_seconds(),
        "peak memory, MB": peak_mb(resource.RUSAGE_SELF),
        "peak memory of the largest child, MB": peak_mb(
            resource.RUSAGE_CHILDREN
        ),
        "on disk, MB": size / 1e6,
        "on disk, bytes/block": size / len(corpus),
    }


def measure_reading(path):
    before = memory_mb()
    start = time.perf_counter()
    corpus = Corpus.open(path, verify=False)
    rows = {"open, s": time.perf_counter() - start}
    rows["memory of opening, MB"] = memory_mb() - before
    generator = random.Random(2020)
    times = []
    for _ in range(NUM_READS):
        ids = generator.choices(range(len(corpus)), k=BLOCKS_A_READ)
        start = time.perf_counter()
        corpus.blocks(ids)
        times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    name = f"read {BLOCKS_A_READ} random blocks"
    rows[f"{name}, p50, ms"] = times[NUM_READS // 2]
    rows[f"{name}, p99, ms"] = times[NUM_READS * 99 // 100]
    start = time.perf_counter()
    Corpus.open(path, verify=True)
    rows["open and verify, s"] = time.perf_counter() - start
    rows["memory after reading and verifying, MB"] = memory_mb() - before
    return rows


def cpu_seconds():
    usages = map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb(who):
    return resource.getrusage(who).ru_maxrss / 1e3


def memory_mb():
    # Not ru_maxrss: a new process begins with that of its parent.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="files and folders")
    parser.add_argument("--vocabulary", required=True, help="vocab.txt")
    parser.add_argument("--num_processes", type=int, default=1)
    parser.add_argument("--folder", help="where there is room")
    return parser.parse_args()


if __name__ == "__main__":
    main()
