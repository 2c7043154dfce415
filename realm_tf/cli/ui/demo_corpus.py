"""The corpus of the demo, embedded already, and the preset that answers."""

import hashlib
import os
import pathlib
import tempfile

import click
import numpy as np

from realm_tf._manifest import file_sha256
from realm_tf.cli.ui import console
from realm_tf.cli.ui.demo_model import cache_for_models
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.realm_qa import RealmQA

PRESET = "realm_minilm_en"
PASSAGE_NAMES = ("passages.jsonl.gz", "articles.jsonl.gz")
EMBEDDINGS_NAME = "embeddings.npz"


def open_demo(data: pathlib.Path, dtype: str) -> tuple[RealmQA, pathlib.Path]:
    """The finished preset with the corpus of the demo.

    Args:
        data: folder of passages and embeddings.
        dtype: see `choose_dtype`.

    Returns:
        `RealmQA`, and the folder that keeps corpus and index, unpacked.
    """
    from realm_tf.data.corpus.corpus import Corpus

    qa = RealmQA.from_preset(PRESET, dtype=choose_dtype(dtype), verify=False)
    files = [data / name for name in (*PASSAGE_NAMES, EMBEDDINGS_NAME)]
    digest = hashlib.sha256("".join(map(file_sha256, files)).encode())
    cache = cache_for_models()
    folder = cache / f"demo-corpus-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        console.print_note("Unpacking the corpus, once ...")
        with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as work:
            made = pathlib.Path(work) / "made"
            _unpack(qa, data, made)
            os.rename(made, folder)
    corpus = Corpus.open(folder / "corpus", verify=False)
    qa.open_index(folder / "index", corpus, verify=False)
    return qa, folder


def _unpack(qa: RealmQA, data: pathlib.Path, folder: pathlib.Path) -> None:
    from realm_tf.data.corpus.corpus_builder import build_corpus
    from realm_tf.retrieval.index.block_index import BlockIndex

    sources = [data / name for name in PASSAGE_NAMES]
    corpus = build_corpus(sources, folder / "corpus", qa.featurizer)
    with np.load(data / EMBEDDINGS_NAME) as packed:
        made_with = str(packed["corpus"]), str(packed["embedder"])
        embeddings = packed["rows"] * packed["scales"][:, None]
    if made_with != (corpus.fingerprint, qa.embedder_fingerprint):
        raise click.ClickException(
            f"{EMBEDDINGS_NAME} must be of the passages beside it, by the "
            f"preset {PRESET}. Received: {data}, where they are of others. "
            "Take the folder and the package from one version."
        )
    BlockIndex.build(
        folder / "index",
        corpus,
        embeddings,
        embedder_fingerprint=qa.embedder_fingerprint,
    )
