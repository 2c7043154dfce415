"""Trains the preset realm_minilm_en and makes the data of `realm-tf demo`.

    python scripts/make_preset.py --bert all-MiniLM-L6-v2 --data data \
        --work work

`data` has a folder for each set, with passages.jsonl.gz and qa.jsonl.gz, and
`wiki` with passages-*.jsonl.gz. Each stage is kept in the work folder, so that
the same command resumes after the last finished one.

1. retriever
2. reader
3. preset: calibration, weights in int8, into the package
4. demo: articles and embeddings, into demo/data
5. test: figures of the rounded preset on questions that were kept apart
"""

import argparse
import gzip
import itertools
import json
import pathlib
import random
import tempfile
import time
from collections.abc import Sequence

import keras
import numpy as np

from realm_tf import RealmQA
from realm_tf.data import Corpus, Question, build_corpus, read_questions
from realm_tf.options import FinetuneOptions
from realm_tf.retrieval import BlockIndex

ROOT = pathlib.Path(__file__).parents[1]
PRESET = ROOT / "realm_tf" / "presets" / "realm_minilm_en"
DEMO = ROOT / "demo" / "data"
NAME = "realm_minilm_en"

MEASURED = ("squad_dev", "new_wiki")  # whose test questions are measured
SETS = (*MEASURED, "squad_train", "qed_train", "tydiqa_en", "adversarial_qa")
# Most training questions of a set in each stage.
RETRIEVER = {"adversarial_qa": 8000}
READER = {
    "squad_train": 6000,
    "qed_train": 2000,
    "tydiqa_en": 1000,
    "adversarial_qa": 0,
}
NUM_DEV = {"squad_train": 400, "qed_train": 100}
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("bert", "data", "work"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", default="mixed_bfloat16")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    train(
        args,
        "retriever",
        args.bert,
        RETRIEVER,
        FinetuneOptions(retriever_batch_size=64, epochs=0, seed=SEED),
    )
    train(
        args,
        "reader",
        args.work / "retriever",
        READER,
        FinetuneOptions(retriever_epochs=0, num_retrieved=100, seed=SEED),
    )
    write_preset(args)
    write_demo(args)
    test(args)


def train(
    args: argparse.Namespace,
    stage: str,
    start: pathlib.Path,
    most: dict[str, int],
    options: FinetuneOptions,
) -> None:
    """Trains a stage from the one before, and prints recall on dev."""
    output = args.work / stage
    if output.exists():
        return
    print(f"\n{stage}, from {start.name}: {options}", flush=True)
    begin = time.monotonic()
    keras.utils.set_random_seed(SEED)
    qa = RealmQA.from_preset(start, dtype=args.dtype)
    dev = questions(args, "dev", NUM_DEV, NUM_DEV)
    fitted = qa.fit(
        questions(args, "train", SETS, most),
        training_corpus(args, qa),
        validation_data=dev,
        options=options,
        verbose=2,
    )
    minutes = (time.monotonic() - begin) / 60
    print(f"{minutes:.0f} minutes; {fitted.history}; w {qa.lexical_weight:.3f}")
    for features, found in qa.evaluate_retrieval(dev, verbose=0).items():
        recall = {k: round(v, 3) for k, v in found.items() if "recall" in k}
        print(f"dev, {features}: {recall}", flush=True)
    qa.save_to_preset(output, include_corpus=True)


def training_corpus(args: argparse.Namespace, qa: RealmQA) -> Corpus:
    path = args.work / "corpus"
    if path.exists():
        return Corpus.open(path)
    sources = [args.data / name / "passages.jsonl.gz" for name in SETS]
    return build_corpus(sources, path, qa.featurizer)


def questions(
    args: argparse.Namespace,
    split: str,
    sets: Sequence[str] | dict[str, int],
    most: dict[str, int],
) -> list[Question]:
    """Questions of several sets, shuffled."""
    rng = random.Random(SEED)
    chosen: list[Question] = []
    for name in sets:
        known = read_questions(args.data / name / "qa.jsonl.gz", split=split)
        chosen += rng.sample(known, min(most.get(name, len(known)), len(known)))
    rng.shuffle(chosen)
    return chosen


def write_preset(args: argparse.Namespace) -> None:
    """Calibrates on dev questions, with and without answers, and rounds."""
    if PRESET.exists():
        return
    qa = RealmQA.from_preset(args.work / "reader", dtype=args.dtype)
    asked = questions(args, "dev", NUM_DEV, NUM_DEV)
    asked += questions(args, "dev", ["squad2_none"], {})
    report = qa.calibrate(asked, verbose=0)
    print(f"\n{report.calibration}", flush=True)
    qa.save_to_preset(PRESET, storage="int8")


def first_passages(args: argparse.Namespace) -> list[dict[str, str]]:
    """The first passage of each Wikipedia article."""
    shards = sorted((args.data / "wiki").glob("passages-*.jsonl.gz"))
    passages = itertools.chain(*map(json_lines, shards))
    return [p for p in passages if p["id"].endswith(":0")]


def json_lines(path: pathlib.Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_demo(args: argparse.Namespace) -> None:
    """Writes passages, and their embeddings by the rounded preset."""
    qa = RealmQA.from_preset(PRESET, dtype=args.dtype)
    with open(DEMO / "articles.jsonl.gz", "wb") as file:
        # Without a time, equal contents are equal files.
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            for passage in first_passages(args):
                line = json.dumps(passage, ensure_ascii=False)
                packed.write(line.encode() + b"\n")
    sources = [DEMO / "passages.jsonl.gz", DEMO / "articles.jsonl.gz"]
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        corpus = build_corpus(sources, f"{folder}/corpus", qa.featurizer)
        write_embeddings(qa.build_index(corpus, f"{folder}/index"))


def write_embeddings(index: BlockIndex) -> None:
    """Writes the embeddings of all blocks as int8, with a scale for each."""
    embeddings = index.embeddings(np.arange(index.num_blocks))
    scales = np.abs(embeddings).max(axis=1) / 127
    np.savez_compressed(
        DEMO / "embeddings.npz",
        rows=np.round(embeddings / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        embedder=np.array(index.embedder_fingerprint),
        corpus=np.array(index.corpus.fingerprint),
    )


def test(args: argparse.Namespace) -> None:
    """Answers the test questions over the passages of their sets."""
    qa = RealmQA.from_preset(NAME, dtype=args.dtype)
    sources = [args.data / name / "passages.jsonl.gz" for name in MEASURED]
    asked = questions(args, "test", MEASURED, {})
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        corpus = build_corpus(sources, f"{folder}/corpus", qa.featurizer)
        qa.build_index(corpus, f"{folder}/index")
        print(f"\ntest: {qa.evaluate(asked, verbose=0)}", flush=True)
        for features, found in qa.evaluate_retrieval(asked, verbose=0).items():
            print(f"test, {features}: {found}", flush=True)


if __name__ == "__main__":
    main()
